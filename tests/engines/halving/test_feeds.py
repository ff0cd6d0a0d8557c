"""What conversions are checked on."""

import numpy as np
import pytest

from engines.errors import EngineFaultError
from engines.halving.feeds import picture_feeds
from engines.profiles import Profile
from engines.runners.base import TensorSpec

PICTURE = TensorSpec("images", (None, 3, None, None), np.dtype(np.float32))
VECTOR = TensorSpec("source", (1, 512), np.dtype(np.float16))
SIZES = Profile("images", (1, 3, 32, 32), (4, 3, 64, 96), (8, 3, 128, 128), values=(0, 255))


def made(*profiles):
    return list(picture_feeds((PICTURE, VECTOR), profiles, file="net.onnx"))


def test_each_kind_comes_in_the_usual_size_and_one_in_the_least():
    feeds = made(SIZES)
    shapes = [each["images"].shape for each in feeds]
    assert shapes == [(1, 3, 64, 96)] * 4 + [(1, 3, 32, 32)]
    assert all(each["source"].shape == (1, 512) for each in feeds)
    assert {each["images"].dtype for each in feeds} == {np.dtype(np.float32)}
    assert {each["source"].dtype for each in feeds} == {np.dtype(np.float16)}


def test_they_fill_the_range_the_engine_feeds_and_differ():
    *bright, night, _ = [each["images"] for each in made(SIZES)]
    assert all((each.min(), each.max()) == (0, 255) for each in bright)
    assert night.max() < 12
    assert len({each.tobytes() for each in bright}) == len(bright)
    source = made(SIZES)[0]["source"]  # no profile: 0 to 1
    assert 0 <= source.min() < 0.1
    assert 0.9 < source.max() <= 1


def test_they_are_the_same_every_time():
    for one, other in zip(made(SIZES), made(SIZES), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_free_size_that_nothing_tells_is_an_error():
    with pytest.raises(EngineFaultError) as refused:
        made()
    assert refused.value.code == "profile_missing"
