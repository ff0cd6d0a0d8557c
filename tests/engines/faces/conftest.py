from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def _bgr(rgb: NDArray[Any]) -> Pixels:
    return np.ascontiguousarray(rgb[:, :, 2::-1])


@pytest.fixture(scope="session")
def astronaut() -> Pixels:
    return _bgr(skimage.data.astronaut())


@pytest.fixture(scope="session")
def hopper() -> Pixels:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as stream:
        return _bgr(np.asarray(Image.open(stream).convert("RGB")))


@pytest.fixture(scope="session")
def cat() -> Pixels:
    return _bgr(skimage.data.chelsea())
