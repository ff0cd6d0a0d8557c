import json

import cv2
import numpy as np
import pytest

from engines.colorize.chroma import lightness, unit
from engines.colorize.engine import Colorize, create
from engines.colorize.params import ColorizeParams, Kind
from engines.errors import CanceledError, InvalidInputError
from engines.registry import Services, open_registry
from engines.spec import EngineResult, InputFiles, InputMedia, MediaInfo, MediaKind
from engines.weights import WeightsError


def info(width: int, height: int, *, kind: MediaKind = MediaKind.IMAGE) -> MediaInfo:
    return MediaInfo(kind=kind, media_type="image/png", bytes=1, width=width, height=height)


@pytest.fixture
def engine(services) -> Colorize:
    return create(services)


@pytest.fixture
def model(registry):
    return registry.resolve("colorize", None)


@pytest.fixture
def files(tmp_path):
    def make(pixels: np.ndarray, *, suffix: str = ".png") -> InputFiles:
        path = tmp_path / f"old photo{suffix}"
        cv2.imwrite(str(path), pixels)
        return InputFiles(target=path, target_info=info(pixels.shape[1], pixels.shape[0]))

    return make


@pytest.fixture
def colorize(engine, model, files, context):
    def run(pixels: np.ndarray, *, suffix: str = ".png", **params: object) -> EngineResult:
        return engine.run(model, ColorizeParams(**params), files(pixels, suffix=suffix), context)

    return run


def read(result: EngineResult) -> np.ndarray:
    return cv2.imread(str(result.files[0].path), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(
    ("params", "kind", "upscaled"),
    [
        (ColorizeParams(), "building", 0),
        (ColorizeParams(type=Kind.PERSON), "person", 0),
        (ColorizeParams(type=Kind.BUILDING, upscale=2), "building", 1),
        (ColorizeParams(upscale=4), "building", 1),
    ],
)
def test_the_plan_counts_the_input_and_takes_the_dearer_kind(params, kind, upscaled, engine, model):
    work = engine.plan(model, params, InputMedia(info(800, 600)))
    assert work.quantities == {
        "images": 1,
        "megapixels": 0.48,
        "upscaled": upscaled,
        "denoised": 0,
        "descratched": 0,
    }
    assert work.attributes == {
        "media": "image",
        "model": "builtin",
        "type": kind,
        "width": 800,
        "height": 600,
    }


@pytest.mark.parametrize(
    ("media", "params", "code"),
    [
        (InputMedia(info(9, 9, kind=MediaKind.VIDEO)), {"upscale": 2}, "option_unsupported"),
        (InputMedia(info(9, 9), (info(9, 9),)), {}, "wrong_source_count"),
        (InputMedia(info(9, 9)), {"fp16": True}, "precision_unavailable"),
        (InputMedia(info(5000, 4000)), {"upscale": 2}, "image_too_large"),
        (InputMedia(info(5000, 10)), {"upscale": 4}, "image_too_large"),
        (InputMedia(info(9, 9)), {"output_size": (9000, 9000)}, "image_too_large"),
        (
            InputMedia(info(9, 9, kind=MediaKind.VIDEO)),
            {"output_size": (9, 9)},
            "option_unsupported",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_run(media, params, code, engine, model):
    with pytest.raises(InvalidInputError) as caught:
        engine.plan(model, ColorizeParams(**params), media)
    assert caught.value.code == code


def test_a_grey_photograph_gets_colour_and_keeps_its_light(colorize, camera):
    result = colorize(camera)
    out = read(result)
    grey = np.repeat(camera[..., None], 3, axis=2)
    assert out.shape == (512, 512, 3)
    assert np.abs(lightness(unit(out)) - lightness(unit(grey))).max() < 0.5
    spread = out.astype(int).max(axis=2) - out.min(axis=2)
    assert np.percentile(spread, 90) > 15
    sky = out[30:100, 330:500].mean(axis=(0, 1))
    assert sky[0] > sky[2] + 10
    (file,) = result.files
    assert (file.name, file.media_type) == ("old photo-colorized.png", "image/png")
    assert result.data["model"] == result.usage.model == "builtin@1"
    assert result.data["was_grey"] is True
    assert result.data["upscaler"] is None
    assert result.usage.work.quantities["megapixels"] == 0.262144
    assert result.usage.work.quantities["upscaled"] == 0
    assert set(result.usage.stages_ms) == {"detect", "infer", "join"}
    assert (result.usage.runner, result.usage.precision) == ("opencv", "none")
    json.dumps(result.data, allow_nan=False)


def test_auto_is_measured_as_what_was_seen(colorize, astronaut, camera):
    portrait = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    seen = colorize(portrait)
    assert seen.usage.work.attributes["type"] == seen.data["type"] == "person"
    assert seen.data["faces_found"] == 1
    assert seen.data["skin"] == "builtin-skin@1"
    face = read(seen)[125:140, 195:210].mean(axis=(0, 1))
    assert face[2] > face[1] > face[0]
    lawn = colorize(camera[300:])
    assert lawn.usage.work.attributes["type"] == lawn.data["type"] == "building"
    assert lawn.data["skin"] is None


def test_a_stated_kind_is_charged_as_stated(colorize, astronaut, camera):
    stated = colorize(astronaut, type=Kind.BUILDING)
    assert stated.usage.work.attributes["type"] == "building"
    assert stated.data["detector"] is None
    assert "detect" not in stated.usage.stages_ms
    assert colorize(camera, type=Kind.PERSON).usage.work.attributes["type"] == "person"


def test_the_same_picture_gives_the_same_colours(colorize, camera):
    first = read(colorize(camera))
    assert (first == read(colorize(camera))).all()


def test_an_enlarged_result_says_by_what(colorize, camera):
    result = colorize(camera[:100, :160], upscale=4)
    assert read(result).shape == (400, 640, 3)
    assert (result.data["width"], result.data["height"]) == (640, 400)
    assert result.data["upscaler"] == "lanczos@1"
    assert result.usage.work.quantities["upscaled"] == 1
    assert result.usage.work.quantities["megapixels"] == 0.016
    assert "upscale" in result.usage.stages_ms


def test_a_colour_picture_is_recoloured_and_told_so(colorize, astronaut, camera):
    recoloured = colorize(astronaut)
    assert recoloured.data["was_grey"] is False
    assert "recoloured from its light" in recoloured.data["notes"][0]
    out, before = read(recoloured), unit(astronaut)
    assert np.abs(lightness(unit(out)) - lightness(before)).max() < 0.5
    assert np.abs(out.astype(int) - astronaut).max() > 50
    assert colorize(camera).data["notes"] == []
    stored_in_colour = np.repeat(camera[..., None], 3, axis=2)
    assert colorize(stored_in_colour).data["notes"] == []


def test_a_jpeg_stays_a_jpeg_and_transparency_stays(colorize, astronaut):
    assert colorize(astronaut, suffix=".jpg").files[0].media_type == "image/jpeg"
    alpha = np.full((512, 512, 1), 255, np.uint8)
    alpha[:100] = 40
    clear = np.concatenate([astronaut, alpha], axis=2)
    assert (read(colorize(clear))[..., 3] == alpha[..., 0]).all()
    assert read(colorize(clear, upscale=2)).shape == (1024, 1024, 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (40, 2)])
def test_specks_and_lines_are_coloured_too(shape, colorize):
    assert read(colorize(np.full(shape, 150, np.uint8))).shape == (*shape, 3)


def test_a_canceled_run_stops(colorize, context, camera):
    context.canceled = True
    with pytest.raises(CanceledError):
        colorize(camera)
    assert not list(context.work_dir.iterdir())


def test_without_its_weights_tiny_says_where_they_come_from(
    engine, registry, files, context, camera
):
    tiny = registry.resolve("colorize", "tiny")
    with pytest.raises(WeightsError, match="pixelmeter models pull tiny"):
        engine.run(tiny, ColorizeParams(), files(camera), context)


@pytest.fixture(scope="module")
def equipped(model_mirror, tmp_path_factory):
    registry = open_registry(store=tmp_path_factory.mktemp("store"), mirror=str(model_mirror))
    yield Services(registry=registry, sessions=registry.sessions, limits=registry.limits)
    registry.sessions.close()


def test_with_its_weights_tiny_goes_first_and_keeps_the_light(equipped, files, context, camera):
    engine, model = create(equipped), equipped.registry.resolve("colorize", None)
    params = ColorizeParams(input_size=256, tile_size=160)
    result = engine.run(model, params, files(camera), context)
    assert result.data["model"] == result.usage.model == "tiny@1"
    assert result.data["input_size"] == [256, 256]
    assert result.data["detector"] == "yunet@2023mar"
    assert (result.usage.runner, result.usage.precision) == ("onnxruntime", "fp32")
    out = read(result)
    grey = np.repeat(camera[..., None], 3, axis=2)
    assert np.abs(lightness(unit(out)) - lightness(unit(grey))).max() < 0.5
    sky = out[30:100, 330:500].mean(axis=(0, 1))
    assert sky[0] > sky[2] + 15


def test_old_photographs_are_coloured_by_both_models(equipped, test_media, context):
    engine = create(equipped)
    for path in sorted((test_media / "bw").iterdir()):
        target = InputFiles(target=path, target_info=info(1, 1))
        for name in ("tiny", "builtin"):
            model = equipped.registry.resolve("colorize", name)
            params = ColorizeParams(input_size=128, type="building")
            result = engine.run(model, params, target, context)
            before, after = cv2.imread(str(path)), read(result)
            assert np.percentile(np.abs(lightness(unit(after)) - lightness(unit(before))), 99) < 1.5
            assert after.shape == before.shape
