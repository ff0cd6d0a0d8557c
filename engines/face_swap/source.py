"""A person whose face is taken, as the swappers want to know it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Face, Pixels

# Room around a face's box, in its sides: a swapper that takes pixels looks no further.
_ROOM = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A face with the part of its picture around it; the rest of a huge picture is let go."""

    pixels: Pixels
    face: Face  # in pixels of the part
    whole: Face  # in pixels of the picture
    faces_found: int  # in that picture

    @classmethod
    def cut(cls, pixels: Pixels, face: Face, *, faces_found: int) -> "Shown":
        """Keep what is around a face."""
        x1, y1, x2, y2 = face.box
        room = _ROOM * max(x2 - x1, y2 - y1)
        height, width = pixels.shape[:2]
        left, top = max(0, int(x1 - room)), max(0, int(y1 - room))
        right, bottom = min(width, int(x2 + room) + 1), min(height, int(y2 + room) + 1)
        near = replace(
            face,
            box=(x1 - left, y1 - top, x2 - left, y2 - top),
            points=face.points - np.array([left, top], dtype=np.float64),
        )
        return cls(pixels[top:bottom, left:right].copy(), near, face, faces_found)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One person."""

    pictures: tuple[int, ...]  # numbers in input.source of those that show a face
    shown: Shown | None  # in the first of them; None where only the vector is wanted
    vector: NDArray[np.float32] | None  # raw, the mean over the pictures; None: no embedder here
    is_cached: bool = False  # every vector was known from an earlier job

    def describe(self) -> dict[str, Any]:
        """JSON-ready facts."""
        told: dict[str, Any] = {
            "index": self.pictures[0],
            "pictures": list(self.pictures),
            "cached": self.is_cached,
        }
        if self.shown is None:
            return told
        return {**told, "faces_found": self.shown.faces_found, **self.shown.whole.describe()}
