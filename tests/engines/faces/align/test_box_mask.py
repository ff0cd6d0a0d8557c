import cv2
import numpy as np
import pytest

from engines.faces.align.box_mask import Padding, box_mask


@pytest.mark.parametrize("size", [128, 256, 512])
def test_the_mask_is_whole_inside_and_nearly_nothing_at_the_edge(size):
    mask = box_mask(size)
    assert mask.shape == (size, size)
    assert mask[size // 2, size // 2] == pytest.approx(1, abs=1e-5)
    assert mask[0].max() < 0.12
    assert np.allclose(mask, mask.T, atol=1e-6)
    assert np.allclose(mask, mask[::-1, ::-1], atol=1e-6)


def test_the_soft_edge_is_as_wide_as_the_reference_says():
    # 19 pixels of reach at 128: a border of 9, blurred with sigma 4.75
    row = box_mask(128)[64, :64]
    half = float(np.interp(0.5, row, np.arange(64)))
    assert half == pytest.approx(8.5, abs=0.05)
    slope = row[9] - row[8]
    assert slope == pytest.approx(1 / (4.75 * np.sqrt(2 * np.pi)), rel=0.02)


@pytest.mark.parametrize("size", [128, 256])
def test_it_is_the_blurred_box_of_the_reference(size):
    reach = int(size * 0.5 * 0.3)
    box = np.zeros((size, size), np.float32)
    box[reach // 2 : -(reach // 2), reach // 2 : -(reach // 2)] = 1
    expected = cv2.GaussianBlur(box, (0, 0), 0.25 * reach)
    assert np.abs(box_mask(size) - expected).max() < 1e-5


def test_padding_leaves_out_one_side():
    mask = box_mask(100, padding=Padding(bottom=40))
    assert mask[75].max() < 0.01
    assert mask[30, 50] == pytest.approx(1, abs=1e-4)


def test_without_blur_the_mask_has_two_values():
    assert set(np.unique(box_mask(64, blur=0))) == {0.0, 1.0}
    with pytest.raises(ValueError, match="share"):
        box_mask(64, blur=1.5)
