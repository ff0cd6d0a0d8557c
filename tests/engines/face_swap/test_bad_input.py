"""Pictures and weights that cannot be used: a stable code, and a sentence with a way out."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from engines.errors import EngineError, InvalidInputError
from engines.weights import WeightsError


def refused(run, *pictures: object, **params: object) -> EngineError:
    with pytest.raises(EngineError) as caught:
        run(*pictures, **params)
    assert not caught.value.retryable
    return caught.value


@pytest.fixture
def drawing() -> np.ndarray:
    """A face as a child draws it."""
    page = np.full((400, 400, 3), 255, np.uint8)
    cv2.circle(page, (200, 200), 130, (0, 0, 0), 3)
    for x in (150, 250):
        cv2.circle(page, (x, 160), 14, (0, 0, 0), -1)
    cv2.ellipse(page, (200, 240), (60, 35), 0, 10, 170, (0, 0, 0), 3)
    return page


@pytest.fixture
def nobodies(cat, drawing, test_media) -> list[object]:
    """A cat, a drawing, nothing at all, a cup."""
    black, cup = test_media / "hostile" / "flat_black.png", test_media / "scenes" / "coffee.png"
    return [cat, drawing, black, cup]


@pytest.mark.parametrize("model", ["classical", "inswapper-128"])
def test_what_shows_no_face_is_no_source_and_no_target(run, model, astronaut, nobodies):
    for nobody in nobodies:
        for pictures, where in [((nobody, astronaut), "target"), ((astronaut, nobody), "source")]:
            error = refused(run, *pictures, model=model)
            assert error.code == "no_face_found"
            assert where in error.detail


def test_a_statue_is_a_face_or_it_is_not_but_never_a_crash(run, astronaut, faces):
    result = run(astronaut, faces / "kodim17_statue.png", model="classical")
    assert result.data["source"]["score"] > 0.7


def test_faces_of_ten_pixels_are_not_found_or_left_as_they_are(run, hopper, astronaut):
    tiny = cv2.resize(astronaut, (48, 48), interpolation=cv2.INTER_AREA)
    page = np.full((480, 480, 3), 90, np.uint8)
    page[200:248, 200:248] = tiny
    error = refused(run, page, hopper, model="classical")
    assert error.code in {"no_face_found", "face_unusable"}


def test_half_a_face_in_the_target_is_replaced_as_far_as_it_goes(run, astronaut, hopper):
    x1, x2 = 180, 272
    half = astronaut[:, (x1 + x2) // 2 + 8 :].copy()
    for model in ("classical", "inswapper-128"):
        try:
            result = run(half, hopper, model=model)
        except InvalidInputError as error:
            assert error.code in {"no_face_found", "face_unusable"}  # noqa: PT017
        else:
            assert result.usage.work.quantities["faces"] == 1
            assert cv2.imread(str(result.files[0].path)).shape == half.shape


def test_heads_in_profile_are_replaced_or_told_and_never_an_error(run, faces, hopper):
    """Of twelve people several look aside; who cannot be replaced costs nothing."""
    group = faces / "group_situation_room_2011.jpg"
    for model in ("classical", "inswapper-128"):
        result = run(group, hopper, model=model, faces="many", max_faces=32)
        skipped, work = len(result.data["faces_skipped"]), result.usage.work.quantities
        assert work["faces"] + skipped == result.data["faces_found"] == 12
        assert work["faces"] >= 9


@pytest.mark.parametrize("model", ["classical", "inswapper-128"])
def test_a_source_that_shows_half_a_face_is_refused(run, astronaut, hopper, model):
    for part in (hopper[:, 240:], hopper[:, 265:], hopper[:, 285:], hopper[:, :270]):
        error = refused(run, astronaut, part.copy(), model=model)
        assert error.code == "face_unusable"
        assert "whole" in error.detail
    tight = hopper[105:350, 178:362].copy()  # cut on all sides, and whole
    assert run(astronaut, tight, model=model).usage.work.quantities["faces"] == 1


def test_twenty_nine_faces_are_all_replaced(run, faces, hopper):
    result = run(
        faces / "group_solvay_1927.jpg", hopper, model="inswapper-128", faces="many", max_faces=32
    )
    work = result.usage.work.quantities
    assert result.data["faces_found"] == 29
    assert work["faces"] + len(result.data["faces_skipped"]) == 29
    assert work["faces"] >= 28
    assert work["extra_faces"] == work["faces"] - 1


def test_a_source_of_many_and_no_choice_is_refused(run, faces, astronaut):
    error = refused(run, astronaut, faces / "group_solvay_1927.jpg", model="classical")
    assert error.code == "several_source_faces"
    assert "source_face" in error.detail
    chosen = run(astronaut, faces / "group_solvay_1927.jpg", source_face=3)
    assert chosen.data["source"]["pictures"] == [0]


def test_a_huge_portrait_is_searched_whole_and_swaps_as_a_small_one(run, astronaut, hopper):
    huge = cv2.resize(hopper, None, fx=6, fy=6)  # 11 megapixels
    images = [
        cv2.imread(str(run(astronaut, each, model="classical").files[0].path)).astype(int)
        for each in (huge, hopper)
    ]
    assert np.abs(images[0] - images[1]).mean() < 1.0


@pytest.mark.parametrize(
    ("file", "params"),
    [
        ("inswapper_128.onnx", {"model": "inswapper-128"}),
        ("w600k_r50.onnx", {"model": "inswapper-128"}),
        ("GFPGANv1.4.onnx", {"model": "classical", "enhance_level": 2, "enhancer": "gfpgan"}),
        ("xseg_3.onnx", {"model": "classical", "mask": "occlusion"}),
        ("bisenet_resnet_34.onnx", {"model": "classical", "mask": "region"}),
        (
            "mobilefacenet_foamliu_dynbatch.onnx",
            {"model": "classical", "faces": "reference", "reference": {"file": 1}},
        ),
    ],
)
def test_missing_weights_say_what_is_missing_and_how_to_get_it(
    stub_registry, run, hopper, file, params
):
    registry = stub_registry(without=(file,))
    pictures = [hopper] * (3 if "faces" in params else 2)
    with pytest.raises(WeightsError) as caught:
        run(*pictures, registry=registry, **params)
    error = caught.value
    assert error.code == "weights_missing"
    model = registry.resolve("face-swap", params["model"])
    [declared] = {each for each in (*model.weights, *model.extras) if each.file == file}
    for word in (file, declared.licence, "pixelmeter models pull"):
        assert word in error.detail
    registry.sessions.close()


def test_without_what_is_not_needed_it_does_without(stub_registry, run, astronaut, hopper):
    gone = ("GFPGANv1.4.onnx", "xseg_3.onnx", "bisenet_resnet_34.onnx", "inswapper_128.onnx",
            "mobilefacenet_foamliu_dynbatch.onnx")  # fmt: skip
    registry = stub_registry(without=gone)
    result = run(astronaut, hopper, model=None, registry=registry, enhance_level=2)
    assert result.data["model"] == "classical@1"
    assert result.data["enhancer"] == "builtin-detail@1"
    assert result.data["embedder"] is None
    registry.sessions.close()


def test_weights_of_another_contract_are_refused(stub_registry, run, astronaut, hopper, tiny_onnx):
    registry = stub_registry(inswapper_128__onnx=tiny_onnx())
    error = refused(run, astronaut, hopper, registry=registry)
    assert error.code in {"weights_unreadable", "emap_wrong"}
    registry.sessions.close()


@pytest.fixture
def altered(model_mirror, tmp_path):
    """Write another inswapper stub: changed by a function on its graph."""

    def write(change: Callable[[onnx.GraphProto], None]) -> Path:
        network = onnx.load(model_mirror / "stubs" / "stub_inswapper_128.onnx")
        change(network.graph)
        path = tmp_path / "altered.onnx"
        onnx.save(network, path)
        return path

    return write


def test_an_inswapper_whose_last_tensor_is_another_is_refused(
    stub_registry, run, astronaut, hopper, altered
):
    def reorder(graph: onnx.GraphProto) -> None:
        tensors = list(graph.initializer)
        del graph.initializer[:]
        other = onnx.numpy_helper.from_array(np.ones((512, 256), np.float32), "other")
        graph.initializer.extend([*tensors, other])

    registry = stub_registry(inswapper_128__onnx=altered(reorder))
    error = refused(run, astronaut, hopper, registry=registry)
    assert error.code == "emap_wrong"
    assert "512" in error.detail
    registry.sessions.close()


@pytest.fixture
def without_numbers(altered):
    """What half precision becomes where its range is too small."""

    def spoil(graph: onnx.GraphProto) -> None:
        last = graph.node[-1].output[0]
        graph.node[-1].output[0] = "numbers"
        graph.node.append(onnx.helper.make_node("Mul", ["numbers", "nothing"], [last]))
        nothing = onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "nothing")
        graph.initializer.insert(0, nothing)

    return altered(spoil)


def test_half_precision_without_numbers_goes_on_in_full_and_says_so(
    stub_registry, run, astronaut, hopper, without_numbers
):
    registry = stub_registry(inswapper_128_fp16__onnx=without_numbers)
    result = run(astronaut, hopper, model="inswapper-128-fp16", registry=registry)
    [note] = result.data["notes"]
    assert "inswapper_128_fp16.onnx" in note
    assert "inswapper_128.onnx was used" in note
    plain = run(astronaut, hopper, registry=registry)
    assert result.files[0].path.read_bytes() == plain.files[0].path.read_bytes()
    registry.sessions.close()


def test_without_its_reserve_it_is_an_error_that_names_it(
    stub_registry, run, astronaut, hopper, without_numbers
):
    registry = stub_registry(
        without=("inswapper_128.onnx",), inswapper_128_fp16__onnx=without_numbers
    )
    error = refused(run, astronaut, hopper, model="inswapper-128-fp16", registry=registry)
    assert error.code == "weights_missing"
    assert "full precision" in error.detail
    registry.sessions.close()
