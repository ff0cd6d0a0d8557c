import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.faces.detectors.rows import Metric, faces_of, keep_most, suppress


def rows(*boxes) -> np.ndarray:
    made = np.zeros((len(boxes), 15))
    for row, (box, score) in zip(made, boxes, strict=True):
        row[:4], row[14] = box, score
        row[4:14] = np.tile(row[:2], 5)
    return made


def test_of_overlapping_boxes_the_best_stays():
    given_rows = rows(([0, 0, 10, 10], 0.8), ([1, 0, 11, 10], 0.9), ([20, 0, 30, 10], 0.7))
    assert suppress(given_rows, overlap_max=0.3)[:, 14].tolist() == [0.9, 0.7]


def test_of_equals_the_first_stays():
    first, second = ([0, 0, 10, 10], 0.8), ([1, 0, 11, 10], 0.8)
    assert suppress(rows(first, second), overlap_max=0.3)[0, 0] == 0
    assert suppress(rows(second, first), overlap_max=0.3)[0, 0] == 1


def test_counting_pixels_instead_of_widths_decides_on_tiny_boxes():
    given_rows = rows(([0, 0, 2, 2], 0.9), ([2, 0, 4, 2], 0.8))
    assert len(suppress(given_rows, overlap_max=0.1)) == 2
    assert len(suppress(given_rows, overlap_max=0.1, border_px=1)) == 1


@given(
    st.lists(
        st.tuples(
            st.floats(0, 100),
            st.floats(0, 100),
            st.floats(1, 50),
            st.floats(1, 50),
            st.floats(0, 1),
        ),
        max_size=12,
    )
)
def test_what_stays_overlaps_little_and_comes_best_first(boxes):
    given_rows = np.array(
        [[x, y, x + w, y + h, *([0] * 10), score] for x, y, w, h, score in boxes]
    ).reshape(-1, 15)
    kept = suppress(given_rows, overlap_max=0.4)
    assert (np.diff(kept[:, 14]) <= 0).all()
    assert len(suppress(kept, overlap_max=0.4)) == len(kept)
    assert bool(len(kept)) == bool(boxes)


def test_rows_become_faces_of_the_picture():
    (face,) = faces_of(rows(([10, 20, 30, 60], 0.5)), ratios=(0.5, 2.0))
    assert face.box == (20, 10, 60, 30)
    assert face.points[0].tolist() == [20, 10]
    assert face.score == 0.5


def test_of_many_faces_the_central_or_the_largest_stay():
    faces = faces_of(
        rows(([0, 0, 60, 60], 0.5), ([180, 180, 220, 220], 0.6), ([300, 300, 310, 310], 0.9))
    )
    central = keep_most(faces, most=1, picture=(400, 400))
    largest = keep_most(faces, most=2, picture=(400, 400), metric=Metric.LARGEST)
    assert [face.score for face in central] == [0.6]
    assert [face.score for face in largest] == [0.5, 0.6]
    assert keep_most(faces, most=0, picture=(400, 400)) == faces
    assert keep_most(faces, most=3, picture=(400, 400)) == faces
