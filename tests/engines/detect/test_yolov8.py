import numpy as np
import pytest

from engines.detect.detection import Question
from engines.detect.detector import detect_frames
from engines.detect.labels import COCO
from engines.detect.network import NetworkDetector
from engines.detect.yolov8 import yolov8
from engines.errors import EngineFaultError
from engines.metering import StageClock

PICTURE = np.full((720, 1280, 3), (10, 20, 30), dtype=np.uint8)  # blue, green, red
ASK = Question(size=(640, 640))


def rows(*anchors, classes=80):
    """Columns cx, cy, w, h and class probabilities, as [4 + classes, anchors]."""
    table = np.zeros((4 + classes, len(anchors)), dtype=np.float32)
    for column, (box, chances) in enumerate(anchors):
        table[:4, column] = box
        for class_id, chance in chances.items():
            table[4 + class_id, column] = chance
    return table


def detect(runner, question=ASK, frames=(PICTURE,)):
    return detect_frames(NetworkDetector(runner, yolov8), frames, question, StageClock())


def test_the_network_is_fed_rgb_planes_between_0_and_1_on_grey(fake_network):
    runner = fake_network(rows())
    detect(runner)
    feed = runner.feeds_seen[0]
    assert feed.shape == (1, 3, 640, 640)
    assert feed.flags.c_contiguous
    assert np.allclose(feed[0, :, 320, 320], [30 / 255, 20 / 255, 10 / 255])
    assert np.allclose(feed[0, :, 0, 0], 114 / 255)


def test_boxes_come_back_in_pixels_of_the_picture(fake_network):
    # the picture lies at rows 140..500 of the canvas, at half size
    [[found]] = detect(fake_network(rows(((320, 320, 100, 60), {15: 0.8}))))
    assert (found.class_id, found.label) == (15, "cat")
    assert found.confidence == pytest.approx(0.8)
    assert found.box == pytest.approx((540, 300, 740, 420))


def test_a_box_is_clipped_to_the_picture(fake_network):
    [[found]] = detect(fake_network(rows(((0, 140, 100, 100), {0: 0.8}))))
    assert found.box == pytest.approx((0, 0, 100, 100))


def test_the_threshold_is_strict(fake_network):
    runner = fake_network(rows(((320, 320, 9, 9), {0: 0.25}), ((100, 300, 9, 9), {0: 0.2500001})))
    assert len(detect(runner)[0]) == 1


def test_only_the_best_class_of_an_anchor_counts(fake_network):
    runner = fake_network(rows(((320, 320, 50, 50), {0: 0.6, 15: 0.7})))
    assert [each.label for each in detect(runner)[0]] == ["cat"]
    only_people = Question(size=(640, 640), classes=(0,))
    assert detect(runner, only_people) == [[]]


def test_overlapping_boxes_of_one_class_merge_and_max_det_counts(fake_network):
    near = [((300 + i, 300, 50, 50), {0: 0.5 + i / 100}) for i in range(5)]
    far = [((100 * i, 200, 20, 20), {2: 0.4}) for i in range(1, 5)]
    found = detect(fake_network(rows(*near, *far)))[0]
    assert [each.label for each in found] == ["person"] + ["car"] * 4
    assert found[0].confidence == pytest.approx(0.54)
    assert len(detect(fake_network(rows(*near, *far)), Question((640, 640), max_det=2))[0]) == 2


def test_names_come_from_the_file_and_else_from_coco(fake_network):
    anchor = ((320, 320, 50, 50), {1: 0.6})
    named = fake_network(rows(anchor, classes=2), metadata={"names": "{0: 'left', 1: 'right'}"})
    assert detect(named)[0][0].label == "right"
    for text in ("", "{", "[1]", "{1: 'x'}", "__import__('os')", "(" * 2000):
        assert (
            NetworkDetector(fake_network(rows(anchor), metadata={"names": text}), yolov8).labels
            == COCO
        )


def test_free_batches_run_together_and_fixed_ones_one_by_one(fake_network):
    frames = [PICTURE, PICTURE[:400], PICTURE[:, :300]]
    table = rows(((320, 320, 50, 50), {0: 0.6}))
    free = fake_network(table)
    fixed = fake_network(table, shape=(1, 3, 640, 640))
    assert detect(free, frames=frames) == detect(fixed, frames=frames)
    assert (free.calls, fixed.calls) == (1, 3)


def test_an_export_for_a_fixed_batch_of_several_is_refused_at_once(fake_network):
    with pytest.raises(EngineFaultError, match="one picture or a free batch") as refused:
        NetworkDetector(fake_network(rows(), shape=(4, 3, 640, 640)), yolov8)
    assert refused.value.code == "weights_unreadable"


def test_rectangles_are_used_as_asked(fake_network):
    runner = fake_network(rows())
    detect(runner, Question(size=(384, 640)))
    assert runner.feeds_seen[0].shape == (1, 3, 384, 640)


def test_exports_with_suppression_inside_are_read_too(fake_network):
    table = np.array(
        [[270, 290, 370, 350, 0.9, 15], [0, 140, 10, 150, 0.3, 2], [0, 0, 0, 0, 0, 0]], np.float32
    )
    found = detect(fake_network(table))[0]
    assert [each.label for each in found] == ["cat", "car"]
    assert found[0].box == pytest.approx((540, 300, 740, 420))


def test_run_time_is_billable_and_the_rest_is_not(fake_network):
    clock = StageClock()
    detect_frames(NetworkDetector(fake_network(rows()), yolov8), [PICTURE], ASK, clock)
    assert set(clock.stages_ms) == {"infer"}
    assert set(clock.asides_ms) == {"preprocess", "postprocess"}


def test_pictures_of_one_run_share_its_time_exactly(fake_network):
    runner = fake_network(rows())
    detector = NetworkDetector(runner, yolov8)
    raws = detector.infer([detector.prepare(PICTURE, (640, 640))] * 3)
    assert runner.calls == 1
    assert sum(raw.elapsed_ms for raw in raws) == runner.elapsed_ms
    assert raws[0].elapsed_ms == pytest.approx(runner.elapsed_ms / 3, abs=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_without_numbers_is_an_error_and_not_an_empty_answer(fake_network, bad):
    broken = rows(((100, 100, 50, 50), {0: 0.9}))
    broken[5, 0] = bad
    with pytest.raises(EngineFaultError) as refused:
        detect(fake_network(broken))
    assert refused.value.code == "network_output_invalid"
    assert not refused.value.retryable
