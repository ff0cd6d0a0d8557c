import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engines.faces.detectors.yunet import YuNet
from engines.faces.geometry import UnusableFaceError
from engines.faces.nets.contracts import ContractError, embedder_contract
from engines.faces.nets.embedder import Embedder, average, unit
from engines.manifest import ManifestError
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner

YUNET, MOBILE = "face_detection_yunet_2023mar.onnx", "mobilefacenet_foamliu_dynbatch.onnx"
ARCFACE = embedder_contract("arcface-w600k")


def means(batch: int | None = None, *, side: int = 112, dimensions: int = 512) -> FakeRunner:
    """Gives the mean of each plane, and zeros."""

    def compute(feeds):
        crops = feeds["input.1"]
        answer = np.zeros((len(crops), dimensions), np.float32)
        answer[:, :3] = crops.mean(axis=(2, 3))
        return {"683": answer}

    f32 = np.dtype(np.float32)
    return FakeRunner(
        compute,
        inputs=(TensorSpec("input.1", (batch, 3, side, side), f32),),
        outputs=(TensorSpec("683", (batch, dimensions), f32),),
    )


def similarity_of(left, right):
    return unit(left) @ unit(right).T


def test_crops_are_fed_in_rgb_between_minus_one_and_one():
    crops = np.zeros((1, 112, 112, 3), np.uint8)
    crops[..., 0] = 255  # blue
    vector = Embedder(means(), ARCFACE, name="means@1").embed_crops(crops)[0]
    assert np.allclose(vector[:3], [-1, -1, 1], atol=1e-6)


@pytest.mark.parametrize(("batch", "runs"), [(None, 3), (1, 40)])
def test_many_crops_run_together_where_the_file_allows_it(batch, runs):
    crops = np.random.default_rng(1).integers(0, 256, (40, 112, 112, 3), np.uint8)
    runner = means(batch)
    embedder = Embedder(runner, ARCFACE, name="means@1")
    together = embedder.embed_crops(crops)
    assert runner.calls == runs
    alone = np.concatenate([embedder.embed_crops(crops[n : n + 1]) for n in range(40)])
    assert np.array_equal(together, alone)


def test_no_faces_are_no_vectors():
    embedder = Embedder(means(), ARCFACE, name="means@1")
    assert embedder.embed(np.zeros((9, 9, 3), np.uint8), []).shape == (0, 512)


@pytest.mark.parametrize(
    "runner", [means(side=128), means(dimensions=128)], ids=["other crops", "other vectors"]
)
def test_weights_of_another_contract_are_refused_by_name(runner):
    with pytest.raises(ContractError, match="these weights are no arcface-w600k") as caught:
        Embedder(runner, ARCFACE, name="x@1")
    assert caught.value.code == "weights_unreadable"


def test_a_contract_that_nobody_declared_is_refused_with_those_that_are():
    with pytest.raises(ManifestError, match="arcface-w600k, arcface-raw, mobilefacenet"):
        embedder_contract("facenet")


@given(
    arrays(np.float32, (3, 8), elements=st.floats(-100, 100, width=32)).filter(
        lambda each: (np.linalg.norm(each, axis=1) > 1e-3).all()
    )
)
def test_units_have_length_one_and_a_vector_is_like_itself(vectors):
    assert np.allclose(np.linalg.norm(unit(vectors), axis=1), 1, atol=1e-5)
    pairs = similarity_of(vectors, vectors)
    assert np.allclose(np.diag(pairs), 1, atol=1e-4)
    assert np.allclose(pairs, pairs.T, atol=1e-5)


@pytest.mark.parametrize("vector", [np.zeros(4, np.float32), np.full(4, np.nan, np.float32)])
def test_a_vector_without_direction_names_nobody(vector):
    with pytest.raises(UnusableFaceError):
        unit(vector)


def test_several_photographs_are_averaged_before_the_length_is_taken():
    vectors = np.array([[3, 0], [0, 1]], np.float32)
    assert np.array_equal(average(vectors), np.array([1.5, 0.5], np.float32))


@pytest.fixture(scope="module")
def faces(network):
    detector = YuNet(network(YUNET), name="yunet@2023mar")
    embedder = Embedder(network(MOBILE), embedder_contract("mobilefacenet"), name="mobilefacenet@1")

    def vectors(pixels):
        return embedder.embed(pixels, detector.detect(pixels))

    return vectors


def test_one_person_is_alike_and_others_are_not(faces, face_picture):
    names = ("astronaut.png", "grace_hopper.jpg", "hopper_128.png", "kodim04.png")
    collins, hopper, hopper_small, woman = (faces(face_picture(name))[:1] for name in names)
    collins_mirrored = faces(np.ascontiguousarray(face_picture("astronaut.png")[:, ::-1]))[:1]
    collins_dark = faces(face_picture("astronaut.png") // 3)[:1]
    same = [(hopper, hopper_small), (collins, collins_mirrored), (collins, collins_dark)]
    assert min(float(similarity_of(*pair)[0, 0]) for pair in same) > 0.5
    people = (collins, hopper, woman)
    others = [(a, b) for a in people for b in people if a is not b] + [(hopper_small, woman)]
    assert max(float(similarity_of(*pair)[0, 0]) for pair in others) < 0.3


def test_the_mean_of_two_photographs_is_like_both(faces, face_picture):
    large, small = (faces(face_picture(each))[0] for each in ("grace_hopper.jpg", "hopper_128.png"))
    both = average(np.stack([large, small]))
    apart = float(similarity_of(large[None], small[None])[0, 0])
    assert float(similarity_of(both[None], large[None])[0, 0]) > apart
    assert float(similarity_of(both[None], small[None])[0, 0]) > apart
