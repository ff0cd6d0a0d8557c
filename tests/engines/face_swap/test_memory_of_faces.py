"""What is remembered of source faces, and which may not be used."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from engines.errors import InvalidInputError


@dataclass
class Kept:
    """Implements ``EmbeddingCache``."""

    vectors: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def get(self, model: str, sha256: str) -> np.ndarray | None:
        return self.vectors.get((model, sha256))

    def put(self, model: str, sha256: str, vector: np.ndarray) -> None:
        self.vectors[model, sha256] = vector


@dataclass
class Blocked:
    """Implements ``FaceBlocklist``: nobody, or everybody."""

    asked: list[str] = field(default_factory=list)
    everybody: bool = False

    def check(self, model: str, vector: np.ndarray) -> None:
        self.asked.append(model)
        if self.everybody:
            raise InvalidInputError("this face may not be used", code="face_blocked")


@pytest.fixture
def context(context):
    return replace(context, embeddings=Kept(), blocked_faces=Blocked())


@pytest.mark.parametrize("model", ["inswapper-128", "classical"])
def test_a_source_face_is_embedded_once_and_a_hit_shows_in_the_work(
    run, context, astronaut, hopper, model
):
    first, second = (run(astronaut, hopper, model=model) for _ in range(2))
    assert "cached_embeddings" not in first.usage.work.quantities
    assert second.usage.work.quantities["cached_embeddings"] == 1
    assert second.data["source"]["cached"] is True
    assert "embed" in first.usage.stages_ms
    assert "embed" not in second.usage.stages_ms
    assert first.files[0].path.read_bytes() == second.files[0].path.read_bytes()
    [(maker, sha256)] = context.embeddings.vectors
    assert maker.endswith("/yunet@2023mar")
    assert len(sha256) == 64


def test_a_person_counts_as_known_only_where_every_picture_is(run, astronaut, hopper):
    run(astronaut, hopper)
    mirrored = hopper[:, ::-1].copy()
    both = run(astronaut, hopper, mirrored)
    assert "cached_embeddings" not in both.usage.work.quantities
    again = run(astronaut, hopper, mirrored)
    assert again.usage.work.quantities["cached_embeddings"] == 1


def test_another_face_of_the_same_picture_is_another_vector(run, context, astronaut, hopper):
    pair = np.hstack([cut := hopper[:512], astronaut])
    assert cut.shape == astronaut.shape
    for position in (0, 1, 1):
        result = run(astronaut, pair, source_face=position)
    assert len(context.embeddings.vectors) == 2
    assert result.usage.work.quantities["cached_embeddings"] == 1


def test_a_blocked_face_is_refused_and_asked_about_even_when_it_is_known(
    run, context, astronaut, hopper
):
    run(astronaut, hopper)
    assert context.blocked_faces.asked == ["w600k_r50@1"]
    context.blocked_faces.everybody = True
    for source in (hopper, hopper[:, ::-1].copy()):
        with pytest.raises(InvalidInputError) as caught:
            run(astronaut, source)
        assert caught.value.code == "face_blocked"
    assert len(context.embeddings.vectors) == 1  # the blocked one was not kept
