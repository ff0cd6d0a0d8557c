import numpy as np
import pytest

from engines.faces.nets.contracts import ContractError
from engines.faces.nets.occlusion import OcclusionMasks
from engines.faces.nets.regions import Region, RegionMasks
from engines.faces.nets.soften import softened
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner

F32 = np.dtype(np.float32)


def bright_is_face(batch: int | None = None, *, channel: int = 0) -> FakeRunner:
    """XSeg's form: a pixel is as much face as one of its colours is bright."""
    return FakeRunner(
        lambda feeds: {"output": feeds["input"][..., channel : channel + 1] * 1.2},
        inputs=(TensorSpec("input", (batch, 256, 256, 3), F32),),
        outputs=(TensorSpec("output", (batch, 256, 256, 1), F32),),
    )


def bright_is_nose(batch: int | None = None) -> FakeRunner:
    """BiSeNet's form: bright red is nose, all else hair (class 17)."""

    def compute(feeds):
        scores = np.zeros((len(feeds["input"]), 19, 512, 512), np.float32)
        scores[:, Region.NOSE] = feeds["input"][:, 0]
        scores[:, 17] = 0.01
        return {"output": scores}

    return FakeRunner(
        compute,
        inputs=(TensorSpec("input", (batch, 3, 512, 512), F32),),
        outputs=(TensorSpec("output", (batch, 19, 512, 512), F32),),
    )


def halves(side: int = 128) -> np.ndarray:
    """Bright above, black below."""
    crops = np.zeros((1, side, side, 3), np.uint8)
    crops[:, : side // 2] = 255
    return crops


def test_what_lies_before_the_face_is_left_out_with_a_soft_rim():
    [mask] = OcclusionMasks([bright_is_face()]).masks(halves())
    assert mask.shape == (128, 128)
    assert mask[:40].min() > 0.99
    assert mask[66:].max() < 0.05
    assert 0.05 < mask[58:66].mean() < 0.95


def test_of_several_networks_all_must_see_the_face():
    crops = halves()
    crops[:, :, :64, 2] = 0  # no red on the left
    [mask] = OcclusionMasks([bright_is_face(), bright_is_face(channel=2)]).masks(crops)
    assert mask[:40, 80:].min() > 0.99
    assert mask[:40, :50].max() < 0.05


def test_regions_asked_for_are_in_the_mask_and_others_are_not():
    crops = halves(256)
    [nose] = RegionMasks(bright_is_nose(), [Region.NOSE]).masks(crops)
    [eyes] = RegionMasks(bright_is_nose(), [Region.LEFT_EYE]).masks(crops)
    assert nose[:100].min() > 0.99
    assert nose[140:].max() < 0.01
    assert eyes.max() == 0
    assert np.array_equal(RegionMasks(bright_is_nose()).masks(crops)[0], nose)


@pytest.mark.parametrize("make", [OcclusionMasks, RegionMasks], ids=["occlusion", "regions"])
def test_a_batch_gives_what_single_runs_give(make):
    crops = np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3), np.uint8)

    def masks(batch):
        if make is RegionMasks:
            return RegionMasks(bright_is_nose(batch)).masks(crops)
        return OcclusionMasks([bright_is_face(batch)]).masks(crops)

    assert np.allclose(masks(None), masks(1), atol=1e-6)
    assert masks(None).shape == (3, 64, 64)


def test_no_crops_are_no_masks():
    crops = halves()[:0]
    assert OcclusionMasks([bright_is_face()]).masks(crops).shape == (0, 128, 128)
    assert RegionMasks(bright_is_nose()).masks(crops).shape == (0, 128, 128)


def test_weights_of_another_contract_are_refused_by_name():
    with pytest.raises(ContractError, match="are no XSeg"):
        OcclusionMasks([bright_is_nose()])
    with pytest.raises(ContractError, match="are no BiSeNet"):
        RegionMasks(bright_is_face())
    with pytest.raises(ValueError, match="at least one"):
        OcclusionMasks([])
    with pytest.raises(ValueError, match="no region"):
        RegionMasks(bright_is_nose(), [])


def test_less_than_half_is_gone_and_a_whole_mask_stays_whole():
    given = np.stack([np.full((32, 32), 0.5, np.float32), np.ones((32, 32), np.float32)])
    soft = softened(given)
    assert soft[0].max() < 1e-6
    assert soft[1].min() > 1 - 1e-5


def test_the_networks_of_the_mirror_give_masks_of_a_real_face(network, face_picture):
    crops = face_picture("astronaut.png")[None, 40:168, 160:288]
    seen = OcclusionMasks([network("stubs/stub_xseg.onnx")]).masks(crops)
    parts = RegionMasks(network("stubs/stub_bisenet.onnx")).masks(crops)
    for masks in (seen, parts):
        assert masks.shape == (1, 128, 128)
        assert 0 <= masks.min() <= masks.max() <= 1
        assert masks.max() > 0.5
