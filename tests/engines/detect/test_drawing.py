import numpy as np
import pytest

from engines.detect.detection import Detection
from engines.detect.drawing import Painter, colour_of
from engines.detect.mask import Mask


def box(*corners, class_id=0, label="person", confidence=0.9):
    return Detection(class_id, label, confidence, corners)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20, 12), (640, 480), (4000, 3000)])
def test_any_size_is_drawn_on_and_the_original_stays(width, height):
    white = np.full((height, width, 3), 255, dtype=np.uint8)
    painter = Painter(width=width, height=height)
    drawn = painter.draw(white, [box(0, 0, width, height), box(-5, -5, width + 9, height + 9)])
    assert drawn.shape == white.shape
    assert (drawn != 255).any()
    assert (white == 255).all()


def test_a_box_and_its_name_are_where_they_belong():
    black = np.zeros((400, 600, 3), dtype=np.uint8)
    drawn = Painter(width=600, height=400).draw(black, [box(100, 200, 300, 350)])
    assert drawn[275, 100].tolist() == list(colour_of(0))
    assert drawn[275, 200].tolist() == [0, 0, 0]  # the inside stays visible
    changed = np.argwhere(drawn[:195].any(axis=2))  # the name stands above the box
    assert changed[:, 0].min() > 170
    assert changed[:, 1].min() == 100


def test_names_stay_inside_the_picture():
    black = np.zeros((100, 100, 3), dtype=np.uint8)
    painter = Painter(width=100, height=100)
    corner = painter.draw(black, [box(95, 0, 100, 5, label="traffic light")])
    assert corner.any(axis=2)[:20, 20:90].any()


def test_ink_can_be_read_on_every_colour():
    for class_id in range(81):
        patch = Painter(width=640, height=640)._patch(box(0, 0, 1, 1, class_id=class_id))
        lightness = patch @ np.array([0.114, 0.587, 0.299])
        assert np.ptp(lightness) > 100, class_id


def test_colours_are_steady_and_apart():
    assert colour_of(3) == colour_of(3)
    assert len({colour_of(class_id) for class_id in range(81)}) == 81


def shaped(bits, *, top=10, left=20, size=(100, 100), **more):
    mask = Mask(size=size, top=top, left=left, bits=bits)
    return Detection(0, "person", 0.9, (20, 10, 60, 50), mask=mask, **more)


def test_a_mask_tints_its_pixels_and_no_others():
    grey = np.full((100, 100, 3), 100, dtype=np.uint8)
    bits = np.zeros((40, 40), bool)
    bits[20:, 20:] = True
    drawn = Painter(width=100, height=100).draw(grey, [shaped(bits)])
    expected = np.round(100 * 0.55 + np.array(colour_of(0)) * 0.45)
    assert np.abs(drawn[40, 50].astype(float) - expected).max() <= 1
    assert drawn[25, 50].tolist() == [100, 100, 100]  # in the window, not in the mask
    assert drawn[80, 80].tolist() == [100, 100, 100]


def test_a_mask_of_the_networks_canvas_is_not_drawn_on_the_picture():
    grey = np.full((100, 100, 3), 100, dtype=np.uint8)
    drawn = Painter(width=100, height=100).draw(
        grey, [shaped(np.ones((40, 40), bool), size=(640, 640))]
    )
    assert drawn[30, 40].tolist() == [100, 100, 100]


def test_a_body_is_joined_where_both_ends_are_seen():
    black = np.zeros((400, 400, 3), dtype=np.uint8)
    points = [(0.0, 0.0, 0.0)] * 17
    points[5], points[6], points[7] = (100, 100, 0.9), (200, 100, 0.9), (100, 300, 0.2)
    found = Detection(0, "person", 0.9, (390, 390, 399, 399), keypoints=tuple(points))
    drawn = Painter(width=400, height=400).draw(black, [found])
    assert drawn[100, 150].any()  # shoulder to shoulder
    assert not drawn[200, 100].any()  # the elbow is not seen
    assert not drawn[0:5, 0:5].any()
