"""What a run has outside the platform: no embedding is kept and no face is blocked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NoEmbeddings:
    """Implements ``engines.spec.EmbeddingCache``; every face is embedded anew."""

    def get(self, model: str, sha256: str) -> NDArray[np.float32] | None:  # noqa: ARG002 - the protocol
        """Nothing was kept."""
        return None

    def put(self, model: str, sha256: str, vector: NDArray[np.float32]) -> None:
        """Keep nothing: a face belongs to whoever sent it, and here nobody answers for it."""


@dataclass(frozen=True, slots=True)
class NoBlockedFaces:
    """Implements ``engines.spec.FaceBlocklist``; a blocklist is the platform's."""

    def check(self, model: str, vector: NDArray[np.float32]) -> None:
        """Let every face through."""

    def check_unseen(self) -> None:
        """Nobody is blocked."""
