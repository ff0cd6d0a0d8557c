import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.runners.base import Runner
from engines.runners.ort import open_onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers"))


@pytest.fixture(scope="session")
def face_picture(test_media: Path) -> Callable[[str], NDArray[np.uint8]]:
    """A photograph of the media folder's faces by name, BGR."""

    def load(name: str) -> NDArray[np.uint8]:
        pixels = cv2.imread(str(test_media / "faces" / name))
        assert pixels is not None
        return np.asarray(pixels, np.uint8)

    return load


@pytest.fixture(scope="session")
def network(model_mirror: Path) -> Callable[[str], Runner]:
    """A network of the mirror by name, loaded once for all tests."""
    loaded: dict[str, Runner] = {}

    def load(name: str) -> Runner:
        if name not in loaded:
            loaded[name] = open_onnx(model_mirror / name, threads=2)
        return loaded[name]

    return load
