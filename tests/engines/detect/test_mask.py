import numpy as np
import pytest

from engines.detect.mask import Mask, coco_rle, compress, outlines, run_lengths


def decoded(told):
    """A reader of COCO's compressed run lengths, written from their definition."""
    lengths, position, text = [], 0, told["counts"]
    while position < len(text):
        value = shift = 0
        while True:
            group = ord(text[position]) - 48
            position += 1
            value |= (group & 0x1F) << shift
            shift += 5
            if not group & 0x20:
                break
        if group & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    flat = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(bool)
    height, width = told["size"]
    return flat.reshape(width, height).T


def blob(seed, size=(40, 30)):
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, 20, 2)
    rows, columns = rng.integers(1, 10, 2)
    return Mask(size=size, top=int(top), left=int(left), bits=rng.random((rows, columns)) > 0.4)


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_say_exactly_the_mask(seed):
    mask = blob(seed)
    assert sum(run_lengths(mask)) == 40 * 30
    assert np.array_equal(decoded(coco_rle(mask)), mask.whole())


@pytest.mark.parametrize(
    "bits", [np.ones((40, 30), bool), np.zeros((40, 30), bool), np.eye(40, 30, dtype=bool)]
)
def test_masks_that_touch_every_edge_are_told_too(bits):
    mask = Mask(size=(40, 30), top=0, left=0, bits=bits)
    assert np.array_equal(decoded(coco_rle(mask)), bits)


def test_a_run_that_goes_on_in_the_next_column_is_one_run():
    mask = Mask(size=(3, 3), top=0, left=1, bits=np.ones((3, 2), bool))
    assert run_lengths(mask) == [3, 6]


def test_compression_is_that_of_coco():
    # from the definition: 5 bits a group, sign in the fifth, differences from the fourth length on
    assert compress([6, 1, 40, 4]) == "61X13"


def test_the_outline_of_the_largest_part_comes_first():
    bits = np.zeros((12, 12), bool)
    bits[0:2, 0:2] = bits[4:12, 4:12] = True
    first, second = outlines(Mask(size=(50, 50), top=10, left=20, bits=bits))
    assert first.min(axis=0).tolist() == [24, 14]
    assert first.max(axis=0).tolist() == [31, 21]
    assert second.max(axis=0).tolist() == [21, 11]
