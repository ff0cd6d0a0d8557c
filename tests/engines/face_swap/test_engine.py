import json

import cv2
import numpy as np
import pytest

from engines.errors import CanceledError, InvalidInputError
from engines.face_swap.engine import FaceSwap, create
from engines.face_swap.params import Faces, FaceSwapParams
from engines.registry import Services, open_registry
from engines.spec import EngineResult, InputFiles, InputMedia, MediaInfo, MediaKind


def info(width: int, height: int, *, kind: MediaKind = MediaKind.IMAGE) -> MediaInfo:
    return MediaInfo(kind=kind, media_type="image/png", bytes=1, width=width, height=height)


@pytest.fixture
def engine(services) -> FaceSwap:
    return create(services)


@pytest.fixture
def model(registry):
    return registry.resolve("face-swap", None)


@pytest.fixture
def files(tmp_path):
    def make(target: np.ndarray, *sources: np.ndarray, suffix: str = ".png") -> InputFiles:
        paths = [tmp_path / f"street{suffix}"]
        cv2.imwrite(str(paths[0]), target)
        for number, source in enumerate(sources):
            paths.append(tmp_path / f"source{number}.png")
            cv2.imwrite(str(paths[-1]), source)
        size = target.shape[1], target.shape[0]
        return InputFiles(target=paths[0], target_info=info(*size), sources=tuple(paths[1:]))

    return make


@pytest.fixture
def swap(engine, model, files, context):
    def run(*pictures: np.ndarray, suffix: str = ".png", **params: object) -> EngineResult:
        return engine.run(model, FaceSwapParams(**params), files(*pictures, suffix=suffix), context)

    return run


@pytest.mark.parametrize(
    ("params", "extra_faces"),
    [
        (FaceSwapParams(), 0),
        (FaceSwapParams(max_faces=20), 0),
        (FaceSwapParams(faces=Faces.MANY), 7),
        (FaceSwapParams(faces=Faces.MANY, max_faces=3, enhance_level=2), 2),
        (FaceSwapParams.model_validate({"faces": "reference", "reference": 5}), 0),
    ],
)
def test_the_plan_is_the_most_the_job_can_be(params, extra_faces, engine, model):
    media = InputMedia(target=info(640, 480), sources=(info(100, 100),))
    work = engine.plan(model, params, media)
    assert work.quantities == {"images": 1, "faces": extra_faces + 1, "extra_faces": extra_faces}
    assert work.attributes == {
        "media": "image",
        "model": "classical",
        "enhance_level": params.enhance_level,
        "width": 640,
        "height": 480,
    }


@pytest.mark.parametrize(
    ("media", "code"),
    [
        (InputMedia(info(9, 9), (info(9, 9, kind=MediaKind.VIDEO),)), "unsupported_media"),
        (InputMedia(info(9, 9)), "wrong_source_count"),
        (InputMedia(info(9, 9), (info(9, 9),) * 17), "wrong_source_count"),
    ],
)
def test_media_it_cannot_take_are_refused_before_the_run(media, code, engine, model):
    with pytest.raises(InvalidInputError) as caught:
        engine.plan(model, FaceSwapParams(), media)
    assert caught.value.code == code


def test_a_swap_reports_the_face_the_models_and_the_time(swap, context, astronaut, hopper):
    result = swap(astronaut, hopper)
    (file,) = result.files
    assert (file.name, file.media_type) == ("street-swapped.png", "image/png")
    assert file.path.parent == context.work_dir
    out = cv2.imread(str(file.path))
    x1, y1, x2, y2 = (int(value) for value in result.data["faces"][0]["box"])
    changed = (out != astronaut).any(axis=2)
    assert changed[y1:y2, x1:x2].mean() > 0.5
    changed[y1 - 20 : y2 + 20, x1 - 20 : x2 + 20] = False
    assert not changed.any()
    assert result.data["model"] == result.usage.model == "classical@1"
    assert result.data["detector"] == "haar@1"
    assert result.data["enhancer"] is None
    assert result.data["source"]["index"] == 0
    assert result.usage.work.quantities == {"images": 1, "faces": 1, "extra_faces": 0}
    assert set(result.usage.stages_ms) == {"detect", "swap", "blend"}
    assert 0 < result.usage.gpu_ms < result.usage.wall_ms
    assert context.reports == [(1, 1, "faces")]
    json.dumps(result.data, allow_nan=False)


def test_many_faces_are_counted_and_cost_as_many(swap, astronaut, hopper):
    pair = np.hstack([astronaut, astronaut[:, ::-1]])
    result = swap(pair, hopper, faces=Faces.MANY, enhance_level=3)
    assert result.usage.work.quantities == {"images": 1, "faces": 2, "extra_faces": 1}
    assert result.usage.work.attributes["enhance_level"] == 3
    assert result.data["faces_found"] == len(result.data["faces"]) == 2
    assert result.data["enhancer"] == "builtin-detail@1"
    assert "enhance" in result.usage.stages_ms
    out = cv2.imread(str(result.files[0].path))
    assert (out[:, :512] != astronaut).any()
    assert (out[:, 512:] != astronaut[:, ::-1]).any()


def test_the_first_source_with_a_face_is_taken_and_its_largest_face(swap, astronaut, hopper, cat):
    small = cv2.resize(astronaut, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    crowd = np.vstack([hopper, np.zeros((256, hopper.shape[1], 3), np.uint8)])
    crowd[len(hopper) :, :256] = small
    result = swap(astronaut, cat, crowd)
    assert result.data["source"]["index"] == 1
    assert result.data["source"]["faces_found"] == 2
    assert result.data["source"]["box"][3] < len(hopper)


def test_no_face_says_in_which_picture(swap, astronaut, hopper, cat):
    for pictures, named in [((cat, hopper), "target"), ((astronaut, cat), "source")]:
        with pytest.raises(InvalidInputError, match=named) as caught:
            swap(*pictures)
        assert caught.value.code == "no_face_found"
        assert not caught.value.retryable


def test_a_canceled_run_stops(swap, context, astronaut, hopper):
    context.canceled = True
    with pytest.raises(CanceledError):
        swap(astronaut, hopper)
    assert not list(context.work_dir.iterdir())


def test_a_jpeg_stays_a_jpeg_and_transparency_stays(swap, astronaut, hopper):
    result = swap(astronaut, hopper, suffix=".jpg")
    assert result.files[0].media_type == "image/jpeg"
    alpha = np.full((512, 512, 1), 255, np.uint8)
    alpha[:100] = 40
    clear = np.concatenate([astronaut, alpha], axis=2)
    result = swap(clear, hopper)
    out = cv2.imread(str(result.files[0].path), cv2.IMREAD_UNCHANGED)
    assert (out[..., 3] == alpha[..., 0]).all()


def test_with_its_file_yunet_finds_the_faces(model_mirror, files, context, astronaut, hopper):
    registry = open_registry(store=context.work_dir / "store", mirror=str(model_mirror))
    services = Services(registry=registry, sessions=registry.sessions, limits=registry.limits)
    engine, model = create(services), registry.resolve("face-swap", "classical")
    both = files(astronaut, hopper)
    first, second = (engine.run(model, FaceSwapParams(), both, context) for _ in range(2))
    assert first.data["detector"] == "yunet@2023mar"
    assert first.usage.cold_start_ms > 0
    assert second.usage.cold_start_ms == 0
    registry.sessions.close()
