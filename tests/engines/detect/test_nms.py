import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.detect.nms import keep_best


def kept(boxes, scores, classes, *, iou=0.5, limit=300):
    arrays = (np.array(boxes, np.float32), np.array(scores, np.float32), np.array(classes))
    return keep_best(*arrays, iou=iou, limit=limit).tolist()


SAME = [0, 0, 10, 10]


def test_of_overlapping_boxes_the_best_stays():
    assert kept([SAME, SAME, [50, 50, 60, 60]], [0.5, 0.9, 0.4], [1, 1, 1]) == [1, 2]


def test_classes_do_not_suppress_each_other():
    assert kept([SAME, SAME], [0.5, 0.9], [1, 2]) == [1, 0]


def test_an_overlap_exactly_at_the_threshold_stays():
    # two boxes that share half of each: 50 of 150
    assert kept([[0, 0, 10, 10], [5, 0, 15, 10]], [0.9, 0.8], [0, 0], iou=1 / 3) == [0, 1]
    assert kept([[0, 0, 10, 10], [5, 0, 15, 10]], [0.9, 0.8], [0, 0], iou=0.33) == [0]


def test_a_suppressed_box_suppresses_nobody():
    chain = [[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]
    assert kept(chain, [0.9, 0.8, 0.7], [0, 0, 0], iou=0.3) == [0, 2]


def test_the_limit_keeps_the_best():
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(5)]
    assert kept(boxes, [0.1, 0.5, 0.3, 0.9, 0.2], [0] * 5, limit=2) == [3, 1]


def test_nothing_and_empty_boxes_are_no_problem():
    assert kept(np.zeros((0, 4)), [], np.zeros(0, dtype=int)) == []
    assert kept([[5, 5, 5, 5], [5, 5, 5, 5]], [0.2, 0.1], [0, 0]) == [0, 1]


box = st.tuples(*[st.integers(0, 40)] * 4).map(
    lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]) + 1, max(c[1], c[3]) + 1]
)
candidate = st.tuples(box, st.integers(1, 100), st.integers(0, 2))


def plain(candidates, iou, limit):
    """The textbook, one pair at a time."""
    order = sorted(range(len(candidates)), key=lambda i: -candidates[i][1])
    chosen = []
    for i in order:
        (a, _, kind) = candidates[i]
        for j in chosen:
            b = candidates[j][0]
            shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(
                0, min(a[3], b[3]) - max(a[1], b[1])
            )
            both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
            if candidates[j][2] == kind and np.float32(shared) / np.float32(both) > iou:
                break
        else:
            chosen.append(i)
    return chosen[:limit]


@settings(max_examples=60)
@given(
    candidates=st.lists(candidate, max_size=30),
    iou=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    limit=st.integers(1, 10),
)
def test_it_agrees_with_the_textbook(candidates, iou, limit):
    boxes = np.array([c[0] for c in candidates], np.float32).reshape(-1, 4)
    scores = [c[1] / 100 for c in candidates]
    classes = np.array([c[2] for c in candidates], dtype=np.int64)
    assert kept(boxes, scores, classes, iou=iou, limit=limit) == plain(candidates, iou, limit)
