"""The learned models through the whole engine, on stubs with their exact inputs and outputs."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.spec import InputMedia, MediaInfo, MediaKind
from engines.weights import WeightsError
from tests.engines.face_swap.conftest import engine_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers"))

import face_networks


def changed(result, target: np.ndarray) -> np.ndarray:
    out = cv2.imread(str(result.files[0].path))
    return (out != target).any(axis=2)


def test_a_learned_swapper_runs_and_says_so(run, astronaut, hopper):
    result = run(astronaut, hopper)
    assert result.usage.model == result.data["model"] == "inswapper-128@1"
    assert result.data["embedder"] == "w600k_r50@1"
    assert result.data["mask"] == ["box"]
    assert result.usage.runner == "onnxruntime"
    assert set(result.usage.stages_ms) == {"detect", "embed", "swap", "blend"}
    assert 0 < result.usage.gpu_ms < result.usage.wall_ms
    x1, y1, x2, y2 = (int(value) for value in result.data["faces"][0]["box"])
    touched = changed(result, astronaut)
    assert touched[y1:y2, x1:x2].mean() > 0.5
    ys, _ = np.nonzero(touched)
    assert ys.max() - ys.min() < 2 * (y2 - y1)  # the crop of the swapper, and nothing else


def test_every_mask_leaves_less_and_the_set_leaves_the_least(run, astronaut, hopper):
    area = {
        name: changed(run(astronaut, hopper, mask=mask), astronaut).sum()
        for name, mask in {
            "box": "box",
            "ellipse": ["box", "ellipse"],
            "occlusion": ["box", "occlusion"],
            "region": ["box", "region"],
            "all": ["box", "ellipse", "occlusion", "region"],
        }.items()
    }
    assert all(0 < area[name] < area["box"] for name in ("ellipse", "occlusion", "region"))
    assert area["all"] <= min(area.values())


@pytest.mark.parametrize("model", ["inswapper-128", "classical"])
def test_levels_enhance_with_gfpgan_where_it_is(run, astronaut, hopper, model):
    plain = run(astronaut, hopper, model=model, enhance_level=1)
    assert plain.data["enhancer"] is None
    assert "enhance" not in plain.usage.stages_ms
    better = run(astronaut, hopper, model=model, enhance_level=2)
    assert better.data["enhancer"] == "gfpgan@1.4"
    assert better.usage.stages_ms["enhance"] > 0


def test_enhancers_can_be_chosen(run, astronaut, hopper):
    x4 = run(astronaut, hopper, model="classical", enhance_level=2, enhancer="x4")
    assert x4.data["enhancer"] == "realesr-animevideov3-x4@1"
    detail = run(astronaut, hopper, enhance_level=2, enhancer="detail")
    assert detail.data["enhancer"] == "builtin-detail@1"
    assert (changed(x4, cv2.imread(str(detail.files[0].path)))).any()


def test_more_pixels_cost_as_many_runs_more(run, astronaut, hopper, monkeypatch):
    from engines.faces.nets import swapper

    sides = []
    real = swapper.Swapper.swap

    def spy(self, crops, latents):
        sides.append(crops.shape[1])
        return real(self, crops, latents)

    monkeypatch.setattr(swapper.Swapper, "swap", spy)
    run(astronaut, hopper)
    run(astronaut, hopper, pixel_boost=256)
    run(astronaut, hopper, pixel_boost=512)
    run(astronaut, hopper, enhance_level=3)
    run(astronaut, hopper, enhance_level=3, pixel_boost=128)
    assert sides == [128, 256, 512, 256, 128]


def test_blend_is_a_share_of_everything_that_was_done(run, astronaut, hopper):
    nothing = run(astronaut, hopper, enhance_level=2, blend=0.0)
    assert not changed(nothing, astronaut).any()
    whole = cv2.imread(str(run(astronaut, hopper, enhance_level=2).files[0].path)).astype(float)
    half = run(astronaut, hopper, enhance_level=2, blend=0.5)
    out = cv2.imread(str(half.files[0].path)).astype(float)
    assert np.abs(out - (whole + astronaut) / 2).max() <= 1.0


def test_colours_are_matched_where_asked(run, astronaut, hopper):
    x1, y1, x2, y2 = (int(value) for value in run(astronaut, hopper).data["faces"][0]["box"])
    middle = np.s_[y1 + 30 : y2 - 30, x1 + 20 : x2 - 20]

    def distance(**params):
        out = cv2.imread(str(run(astronaut, hopper, **params).files[0].path))
        return np.abs(out[middle].mean(axis=(0, 1)) - astronaut[middle].mean(axis=(0, 1))).sum()

    assert distance(color_match=True) < distance() / 2


def test_several_photographs_of_one_person_are_averaged(run, astronaut, hopper, cat):
    mirrored = hopper[:, ::-1].copy()
    one = run(astronaut, hopper)
    both = run(astronaut, hopper, cat, mirrored)
    assert both.data["source"]["pictures"] == [0, 2]  # the cat shows nobody
    assert one.data["source"]["pictures"] == [0]
    assert changed(both, cv2.imread(str(one.files[0].path))).any()


@pytest.fixture
def ghost(stub_registry, tmp_path):
    """GHOST as an operator brings it: its generator, and then the network that converts vectors."""
    registry = stub_registry()
    registry.add("ghost-2", face_networks.swapper(tmp_path / "g.onnx"), licence="Apache-2.0")
    converter = face_networks.converter(tmp_path / "c.onnx")
    return registry, lambda: registry.add("crossface-ghost", converter, licence="Apache-2.0")


def test_ghost_needs_its_converter_and_runs_with_it(run, ghost, astronaut, hopper):
    registry, add_converter = ghost
    with pytest.raises(WeightsError, match="models add crossface-ghost"):
        run(astronaut, hopper, model="ghost-2", registry=registry)
    add_converter()
    result = run(astronaut, hopper, model="ghost-2", registry=registry)
    assert result.data["model"] == "ghost-2@1"
    assert result.data["embedder"] == "w600k_r50@1"
    assert changed(result, astronaut).any()
    registry.sessions.close()


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("crossface-ghost", {}, "model_unsuitable"),
        ("classical", {"pixel_boost": 256}, "option_unsupported"),
        ("ghost-1", {"pixel_boost": 384}, "option_unsupported"),
        ("inswapper-128", {"pixel_boost": 1024}, "option_unsupported"),
        ("classical", {"quality": "low"}, "option_unsupported"),
    ],
)
def test_what_a_model_cannot_is_refused_before_the_run(stubs, name, params, code):
    info = MediaInfo(MediaKind.IMAGE, "image/png", 1, 640, 480)
    engine = engine_of(stubs)
    wanted = engine.params_model.model_validate(params)
    with pytest.raises(InvalidInputError) as caught:
        engine.plan(stubs.resolve("face-swap", name), wanted, InputMedia(info, (info,)))
    assert caught.value.code == code
