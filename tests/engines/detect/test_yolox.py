import numpy as np
import pytest

from engines.detect.detection import Question
from engines.detect.detector import detect_frames
from engines.detect.network import NetworkDetector
from engines.detect.yolox import grid, yolox
from engines.metering import StageClock

ASK = Question(size=(416, 416))
CELLS = 52 * 52 + 26 * 26 + 13 * 13


def table(*cells):
    """All cells silent but the given ones: index -> (x, y, log w, log h, objectness, class, p)."""
    rows = np.zeros((CELLS, 85), dtype=np.float32)
    for index, x, y, w, h, objectness, class_id, chance in cells:
        rows[index, :5] = (x, y, w, h, objectness)
        rows[index, 5 + class_id] = chance
    return rows


def test_the_grid_runs_row_by_row_over_three_strides():
    corners, strides = grid((416, 416))
    assert len(corners) == CELLS == 3549
    assert corners[53].tolist() == [1, 1]
    assert strides[[0, 52 * 52, CELLS - 1], 0].tolist() == [8, 16, 32]
    assert corners[-1].tolist() == [12, 12]
    assert len(grid((384, 640))[0]) == 48 * 80 + 24 * 40 + 12 * 20


def test_the_network_is_fed_raw_bgr_in_the_top_left_corner(fake_network):
    runner = fake_network(table(), shape=(1, 3, 416, 416))
    picture = np.full((208, 416, 3), (10, 20, 30), dtype=np.uint8)
    detect_frames(NetworkDetector(runner, yolox), [picture], ASK, StageClock())
    feed = runner.feeds_seen[0]
    assert feed[0, :, 0, 0].tolist() == [10, 20, 30]
    assert feed[0, :, 207, 415].tolist() == [10, 20, 30]
    assert feed[0, :, 208, 0].tolist() == [114, 114, 114]


def test_cells_become_boxes_and_scores_are_products(fake_network):
    # column 2, row 1 of stride 16, centred half a cell further, 4 x 2 cells large
    index = 52 * 52 + 1 * 26 + 2
    rows = table((index, 0.5, 0.5, np.log(4), np.log(2), 0.8, 15, 0.9))
    picture = np.zeros((832, 832, 3), dtype=np.uint8)  # twice the canvas
    runner = fake_network(rows, shape=(1, 3, 416, 416))
    [[found]] = detect_frames(NetworkDetector(runner, yolox), [picture], ASK, StageClock())
    assert found.label == "cat"
    assert found.confidence == pytest.approx(0.72)
    assert found.box == pytest.approx((16, 16, 144, 80), abs=1e-3)


def test_the_product_must_pass_the_threshold(fake_network):
    rows = table((0, 0, 0, 0, 0, 0.5, 0, 0.5), (9, 0, 0, 0, 0, 0.51, 0, 0.5))
    runner = fake_network(rows, shape=(1, 3, 416, 416))
    picture = np.zeros((416, 416, 3), dtype=np.uint8)
    assert len(detect_frames(NetworkDetector(runner, yolox), [picture], ASK, StageClock())[0]) == 1
    nobody = Question(size=(416, 416), classes=(15,))
    assert detect_frames(NetworkDetector(runner, yolox), [picture], nobody, StageClock()) == [[]]
