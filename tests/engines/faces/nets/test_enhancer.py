import cv2
import numpy as np
import pytest

from engines.faces.align.box_mask import box_mask
from engines.faces.align.paste import paste
from engines.faces.nets.contracts import ContractError, enhancer_contract
from engines.faces.nets.enhancer import BLEND, Enhancer
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner

GFPGAN, X4 = enhancer_contract("gfpgan"), enhancer_contract("x4")
F32 = np.dtype(np.float32)
POINTS = np.array([[201, 105], [245, 105], [221, 127], [204, 145], [242, 145]], float)


def negative(*, fidelity: bool = False) -> FakeRunner:
    told = TensorSpec("weight", (1,), np.dtype(np.float64))
    picture = TensorSpec("input", (1, 3, 512, 512), F32)

    def compute(feeds):
        return {"output": -feeds["input"] * np.float32(feeds.get("weight", [1.0])[0])}

    return FakeRunner(
        compute,
        inputs=(picture, told) if fidelity else (picture,),
        outputs=(TensorSpec("output", (1, 3, 512, 512), F32),),
    )


def test_values_are_fed_and_read_between_minus_one_and_one():
    crops = np.random.default_rng(2).integers(0, 256, (2, 512, 512, 3), np.uint8)
    drawn = Enhancer(negative(), GFPGAN).enhance(crops)
    assert drawn.dtype == np.float32
    assert np.abs(drawn - (255 - crops.astype(int))).max() < 1e-3


def test_a_network_that_wants_to_be_told_its_fidelity_is_told():
    crops = np.full((1, 512, 512, 3), 255, np.uint8)
    drawn = Enhancer(negative(fidelity=True), GFPGAN, fidelity=0.25).enhance(crops)
    assert np.allclose(drawn, 127.5 - 127.5 / 4, atol=1e-3)


def test_no_faces_are_none_and_floats_are_taken_too():
    enhancer = Enhancer(negative(), GFPGAN)
    assert len(enhancer.enhance(np.zeros((0, 512, 512, 3), np.uint8))) == 0
    half = np.full((1, 512, 512, 3), 127.25, np.float32)
    assert np.allclose(enhancer.enhance(half), 127.75, atol=1e-3)


def test_weights_of_another_contract_are_refused_by_name():
    with pytest.raises(ContractError, match="are no gpen-256: they take crops of"):
        Enhancer(negative(), enhancer_contract("gpen-256"))
    with pytest.raises(ContractError, match="are no x4: they take crops of"):
        Enhancer(negative(), X4)


def test_a_real_enlarger_gives_the_crop_four_times_as_large_in_its_own_place(network, face_picture):
    picture = face_picture("astronaut.png")
    enhancer = Enhancer(network("realesr_animevideov3_x4.onnx"), X4)
    crop = enhancer.crop(picture, POINTS)
    [drawn] = enhancer.enhance(crop.pixels[None])
    assert drawn.shape == (512, 512, 3)
    reduced = cv2.resize(drawn, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced - crop.pixels).mean() < 6
    # laid back through the enlarged matrix it lies where it was: a shift of half a pixel shows
    error = {}
    for shift in (0.0, 1.0):
        laid = picture.copy()
        matrix = enhancer.matrix(crop.matrix) + np.array([[0, 0, 4 * shift], [0, 0, 0]])
        region = paste(laid, drawn, matrix, box_mask(512), blend=BLEND)
        x1, y1, x2, y2 = region
        error[shift] = np.abs(laid[y1:y2, x1:x2].astype(int) - picture[y1:y2, x1:x2]).mean()
    assert error[0.0] < 3.5
    assert error[0.0] < 0.7 * error[1.0]


def test_the_restorer_of_the_mirror_runs_on_a_real_face(network, face_picture):
    enhancer = Enhancer(network("stubs/stub_gfpgan_1.4.onnx"), GFPGAN)
    crop = enhancer.crop(face_picture("astronaut.png"), POINTS)
    [drawn] = enhancer.enhance(crop.pixels[None])
    assert drawn.shape == crop.pixels.shape
    assert 0 <= drawn.min() <= drawn.max() <= 255
