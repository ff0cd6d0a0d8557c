"""The engine against the published pipeline, pixel by pixel."""

import cv2
import numpy as np
import pytest

from engines.colorize.engine import create
from engines.colorize.params import ColorizeParams
from engines.registry import open_registry
from tests.engines.colorize.conftest import services_of
from tests.engines.colorize.reference import reference

SIZES = [(256, 256), (512, 512), (256, 384)]


@pytest.fixture
def largest_difference(as_files, context):
    """Between the engine and the published pipeline, of 255, over a picture."""

    def compare(services, network, pixels: np.ndarray, size: tuple[int, int]) -> int:
        engine, model = create(services), services.registry.resolve("colorize", "ddcolor")
        params = ColorizeParams(type="building", input_size=size, chroma="reference")
        result = engine.run(model, params, as_files(pixels), context)
        ours = cv2.imread(str(result.files[0].path), cv2.IMREAD_UNCHANGED)
        theirs = reference(pixels, network.read_bytes(), height=size[0], width=size[1])
        assert ours.shape == theirs.shape
        return int(np.abs(ours.astype(int) - theirs).max())

    return compare


@pytest.mark.parametrize("size", SIZES)
def test_photographs_of_any_shape_come_out_as_published(
    size, ddcolor, colour_network, largest_difference, astronaut
):
    for shape in ((512, 512), (451, 300), (640, 97), (211, 700)):
        pixels = cv2.resize(astronaut, shape)
        assert largest_difference(ddcolor, colour_network, pixels, size) <= 1


@pytest.fixture(scope="module")
def stub(model_mirror):
    return model_mirror / "stubs" / "stub_ddcolor.onnx"


@pytest.fixture(scope="module")
def stubbed(stub, tmp_path_factory):
    registry = open_registry(store=tmp_path_factory.mktemp("stubbed"))
    registry.add("ddcolor-modelscope", stub, licence="CC0")
    yield services_of(registry)
    registry.sessions.close()


@pytest.mark.parametrize("size", SIZES)
def test_old_photographs_and_faces_come_out_as_published(
    size, stubbed, stub, largest_difference, test_media
):
    paths = sorted([*(test_media / "bw").iterdir(), *(test_media / "faces").iterdir()])
    assert len(paths) >= 12
    for path in paths:
        found = largest_difference(stubbed, stub, cv2.imread(str(path)), size)
        print(f"{path.name} at {size}: {found}/255")
        assert found <= 1, path.name
