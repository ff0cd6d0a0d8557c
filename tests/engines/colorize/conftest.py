from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from engines.errors import CanceledError
from engines.registry import Registry, Services, open_registry

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
def camera() -> Pixels:
    """A photographer on a lawn under an open sky, one channel."""
    return np.asarray(skimage.data.camera())


@dataclass
class Context:
    """A run that is watched: what it reported, and whether it is told to stop."""

    work_dir: Path
    canceled: bool = False
    reports: list[tuple[int, int, str]] = field(default_factory=list)

    def progress(self, done: int, total: int, unit: str) -> None:
        self.reports.append((done, total, unit))

    def checkpoint(self) -> None:
        if self.canceled:
            raise CanceledError("asked to stop")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    folder = tmp_path / "work"
    folder.mkdir()
    return Context(folder)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """No weights at all: everything that must work without them."""
    return open_registry(store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def services(registry: Registry) -> Services:
    return Services(registry=registry, sessions=registry.sessions, limits=registry.limits)
