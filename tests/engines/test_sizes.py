"""Pictures of any size that probing lets through get an answer from every engine."""

import numpy as np
import pytest
from PIL import Image

from engines.errors import InvalidInputError
from engines.media.images import read_image
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.registry import open_registry
from engines.spec import EngineResult, InputFiles, InputMedia

SIZES = [(1, 1), (2, 1), (1, 2), (23, 24), (8000, 2), (2, 8000), (16_383, 1)]
BUILT_IN = [("detect", "builtin"), ("colorize", "builtin"), ("face-swap", "classical")]
NETWORKS = [("detect", "yolov8n"), ("detect", "yolox-nano"), ("colorize", "tiny")]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The shipped engines without any weights."""
    registry = open_registry(store=tmp_path_factory.mktemp("store"))
    yield registry
    registry.sessions.close()


@pytest.fixture(scope="module")
def equipped(tmp_path_factory, model_mirror):
    """The shipped engines with real weights, the face detector's too."""
    registry = open_registry(store=tmp_path_factory.mktemp("store"), mirror=str(model_mirror))
    yield registry
    registry.sessions.close()


@pytest.fixture
def run(tmp_path, context):
    """Probe, plan and run one noisy picture through one model, as the platform does."""

    def go(registry, engine_name: str, model: str, size: tuple[int, int]) -> EngineResult:
        width, height = size
        path = tmp_path / "input.png"
        noise = np.random.default_rng(3).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(path)
        info = probe(path, MediaLimits())
        engine, version = registry.engine(engine_name), registry.resolve(engine_name, model)
        asked = {"annotate": True} if engine_name == "detect" else {}
        params = engine.params_model.model_validate(asked)
        swaps = engine.manifest.sources != "none"
        engine.plan(version, params, InputMedia(info, (info,) if swaps else ()))
        files = InputFiles(path, info, (path,) if swaps else ())
        return engine.run(version, params, files, context)

    return go


def check(run, registry, engine: str, model: str, size: tuple[int, int]) -> None:
    if engine == "face-swap":
        with pytest.raises(InvalidInputError, match="frontal face") as refused:
            run(registry, engine, model, size)
        assert refused.value.code == "no_face_found"
        return
    written = read_image(run(registry, engine, model, size).files[0].path)
    assert (written.width, written.height) == size


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("engine", "model"), BUILT_IN)
def test_models_without_weights_answer_to_every_size(run, bare, engine, model, size):
    check(run, bare, engine, model, size)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("engine", "model"), [*BUILT_IN, *NETWORKS])
def test_every_model_answers_to_every_size_where_all_weights_are(
    run, equipped, engine, model, size
):
    check(run, equipped, engine, model, size)
