import numpy as np
import pytest
from face_networks import converter, swapper
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.faces.nets.boost import boost_factor, unweave, weave
from engines.faces.nets.contracts import ContractError, swapper_contract
from engines.faces.nets.embedder import unit
from engines.faces.nets.latents import ConvertedLatents, EmapLatents, UnitLatents
from engines.faces.nets.swapper import Swapper, clipped
from engines.runners.ort import open_onnx

INSWAPPER, GHOST = swapper_contract("inswapper-128"), swapper_contract("ghost-256")
RNG = np.random.default_rng(4)
VECTORS = RNG.normal(0, 7, (3, 512)).astype(np.float32)


def crops(count: int, side: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, side, side, 3), np.uint8)


def identity() -> EmapLatents:
    return EmapLatents(np.eye(512, dtype=np.float32))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """An inswapper of a few nodes, for one crop and for any number."""
    folder = tmp_path_factory.mktemp("networks")

    def make(batch):
        path = swapper(folder / f"{batch}.onnx", size=128, batch=batch)
        return Swapper(open_onnx(path, threads=1), INSWAPPER, identity())

    return {1: make(1), "n": make("n")}


def test_a_batch_gives_what_single_runs_give(tiny):
    latents = tiny[1].latent(VECTORS)
    given = crops(3, 128)
    assert not tiny[1].is_batched
    assert tiny["n"].is_batched
    assert np.allclose(tiny[1].swap(given, latents), tiny["n"].swap(given, latents), atol=1e-4)


def test_the_network_draws_what_it_should_of_pixels_and_latent(tiny):
    latents = tiny[1].latent(VECTORS[:1])
    given = crops(1, 128)
    colour = np.tanh(latents[0, :3])[::-1] * 255  # the latent's planes are RGB
    assert np.allclose(
        tiny[1].swap(given, latents)[0], np.clip((given[0] + colour) / 2, 0, 255), atol=1e-2
    )


def test_no_faces_are_no_crops_and_counts_must_agree(tiny):
    assert len(tiny[1].swap(crops(0, 128), VECTORS[:0])) == 0
    with pytest.raises(ValueError, match="as many latents"):
        tiny[1].swap(crops(2, 128), VECTORS[:1])


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("boost", [2, 4])
def test_a_boosted_crop_is_drawn_in_interleaved_parts(tiny, batch, boost):
    latents = tiny[batch].latent(VECTORS[:2])
    given = crops(2, 128 * boost)
    drawn = tiny[batch].swap(given, latents)
    assert drawn.shape == given.shape
    for down in range(boost):
        for across in range(boost):
            part = given[:, down::boost, across::boost]
            alone = tiny[batch].swap(np.ascontiguousarray(part), latents)
            assert np.allclose(drawn[:, down::boost, across::boost], alone, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 3), size=st.integers(1, 6), factor=st.integers(1, 4))
def test_weaving_is_the_way_back(count, size, factor):
    given = np.arange(count * (size * factor) ** 2 * 3).reshape(
        count, size * factor, size * factor, 3
    )
    small = unweave(given, size=size)
    assert small.shape == (count * factor**2, size, size, 3)
    assert np.array_equal(weave(small, factor=factor), given)


def test_a_crop_that_is_no_multiple_is_refused():
    assert boost_factor(512, size=128) == 4
    for side in (64, 130):
        with pytest.raises(ValueError, match="no multiple"):
            boost_factor(side, size=128)


def test_latents_are_of_length_one_where_the_contract_says_so():
    emap = RNG.normal(0, 1, (512, 512)).astype(np.float32)
    latents = EmapLatents(emap)(VECTORS)
    assert np.allclose(np.linalg.norm(latents, axis=1), 1, atol=1e-5)
    expected = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)) @ emap
    assert np.allclose(latents, expected / np.linalg.norm(expected, axis=1)[:, None], atol=1e-6)
    assert np.allclose(UnitLatents()(VECTORS), unit(VECTORS))


def test_ghost_gets_converted_raw_embeddings_in_their_own_length(tmp_path):
    latents = ConvertedLatents(open_onnx(converter(tmp_path / "c.onnx"), threads=1))
    made = latents(VECTORS)
    assert made.shape == (3, 512)
    assert np.allclose(latents(VECTORS * 2), made * 2, rtol=1e-4)
    network = open_onnx(swapper(tmp_path / "ghost.onnx", size=256), threads=1)
    ghost = Swapper(network, GHOST, latents)
    given = crops(1, 256)
    colour = np.tanh(made[0, :3])[::-1] * 127.5
    drawn = ghost.swap(given, ghost.latent(VECTORS[:1]))[0]
    assert np.allclose(
        drawn, np.clip((given[0] - 127.5) / 2 + colour / 2 + 127.5, 0, 255), atol=0.1
    )


def test_weights_of_another_contract_are_refused_by_name(tmp_path):
    wide = open_onnx(swapper(tmp_path / "wide.onnx", size=256), threads=1)
    with pytest.raises(ContractError, match="are no inswapper-128: they take crops of"):
        Swapper(wide, INSWAPPER, identity())
    with pytest.raises(ContractError, match="convert no embeddings"):
        ConvertedLatents(wide)
    small = open_onnx(converter(tmp_path / "c.onnx"), threads=1)
    with pytest.raises(ContractError, match="are no ghost-256"):
        Swapper(small, GHOST, identity())


def test_bytes_are_rounded_and_kept_within_their_range():
    assert clipped(np.array([-3, 0.4, 0.6, 300], np.float32)).tolist() == [0, 0, 1, 255]
