"""Networks of DDColor's form, registered as an operator would."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.registry import Registry, Services, open_registry
from engines.spec import InputFiles, MediaInfo, MediaKind
from tests.networks import write_colours


def services_of(registry: Registry) -> Services:
    return Services(registry=registry, sessions=registry.sessions, limits=registry.limits)


@pytest.fixture(scope="session")
def colour_network(tmp_path_factory) -> Path:
    return write_colours(tmp_path_factory.mktemp("network") / "colours.onnx")


@pytest.fixture(scope="session")
def ddcolor(tmp_path_factory, colour_network) -> Services:
    """The shipped engines with a network of DDColor's form as ``ddcolor-modelscope``."""
    store = tmp_path_factory.mktemp("ddcolor")
    registry = open_registry(store=store)
    registry.add("ddcolor-modelscope", colour_network, licence="CC0")
    yield services_of(registry)
    registry.sessions.close()


@pytest.fixture
def as_files(tmp_path):
    """Write pixels as a picture file and give it as an engine's input."""

    def write(pixels: np.ndarray, name: str = "old photo.png") -> InputFiles:
        path = tmp_path / name
        assert cv2.imwrite(str(path), pixels)
        facts = MediaInfo(
            kind=MediaKind.IMAGE,
            media_type="image/png",
            bytes=path.stat().st_size,
            width=pixels.shape[1],
            height=pixels.shape[0],
        )
        return InputFiles(target=path, target_info=facts)

    return write
