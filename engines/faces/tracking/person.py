"""Who a track is: the few best vectors of its face."""

import numpy as np
from numpy.typing import NDArray

from engines.faces.nets.embedder import Vector
from engines.faces.tracking.seen import Seen

VECTORS_MAX = 5
# Nearer than this a vector says nothing that another does not say.
NEWS = 0.9


class Person:
    """Vectors of one track; frontal sights drive out those of a turned head."""

    def __init__(self) -> None:
        self._vectors: list[Vector] = []
        self._is_frontal = False
        self._stacked: NDArray[np.float32] | None = None

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Unit vectors [n, dimensions]; none where persons are not told apart."""
        if self._stacked is None:
            empty = np.zeros((0, 0), dtype=np.float32)
            self._stacked = np.stack(self._vectors) if self._vectors else empty
        return self._stacked

    @property
    def is_known(self) -> bool:
        """Whether it was seen from the front."""
        return self._is_frontal

    def add(self, seen: Seen) -> None:
        """Remember a sight, if it says something new."""
        if seen.vector is None or (self._is_frontal and not seen.is_frontal):
            return
        if seen.is_frontal and not self._is_frontal:
            self._vectors, self._is_frontal = [], True
        if self._vectors and max(float(each @ seen.vector) for each in self._vectors) > NEWS:
            return
        if len(self._vectors) < VECTORS_MAX:
            self._vectors.append(seen.vector)
            self._stacked = None

    def likeness(self, vector: Vector) -> float:
        """The greatest cosine of a unit vector to any sight; -1 where there is none."""
        if not self._vectors:
            return -1.0
        return float((self.vectors @ vector).max())
