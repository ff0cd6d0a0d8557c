"""Who a track is: the few best vectors of its face."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.faces.nets.embedder import Vector
from engines.faces.tracking.seen import Seen, width_of

SIGHTS_MAX = 5
# Nearer than this a vector says nothing that another does not say.
NEWS = 0.9
# A face so many times as wide is seen better: its vector takes the place of the smaller one's.
LARGER = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    vector: Vector
    width_px: float


class Person:
    """Vectors of one track; frontal and large sights drive out turned and small ones."""

    def __init__(self) -> None:
        self._sights: list[_Sight] = []
        self._is_frontal = False
        self._stacked: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Unit vectors [n, dimensions]; none where persons are not told apart."""
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
            self._sights, self._is_frontal = [], True
        sight = _Sight(seen.vector, width_of(seen.face.box))
        place = self._place_of(sight)
        if place is not None:
            self._sights[place : place + 1] = [sight]
            self._stacked = np.stack([each.vector for each in self._sights])

    def likeness(self, vector: Vector) -> float:
        """The greatest cosine of a unit vector to any sight; -1 where there is none."""
        return float((self._stacked @ vector).max()) if self._sights else -1.0

    def _place_of(self, new: _Sight) -> int | None:
        """Where a sight is kept: beside the others, or instead of a smaller one; None: nowhere."""
        sights = self._sights
        nearest = max(range(len(sights)), key=lambda n: sights[n].vector @ new.vector, default=None)
        if nearest is not None and sights[nearest].vector @ new.vector > NEWS:
            rival = nearest
        elif len(sights) < SIGHTS_MAX:
            return len(sights)
        else:
            rival = min(range(len(sights)), key=lambda n: sights[n].width_px)
        return rival if new.width_px > LARGER * sights[rival].width_px else None
