"""What was done to the frames of a video so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.errors import InvalidInputError
from engines.face_swap.selection import Chosen, no_face
from engines.faces.geometry import UnusableFaceError

_RANGES_MAX = 1000  # told for each role; a flickering one would fill a page


@dataclass(slots=True)
class Tally:
    """Counts, and for each role the frames in which its face was replaced."""

    frames: int = 0
    faces: int = 0  # replaced, in all frames
    extra_faces: int = 0  # beyond the first of each frame
    _found: int = 0
    _chosen: int = 0
    _ranges: dict[int, list[list[int]]] = field(default_factory=dict)  # first and last frame

    def add(self, *, found: int, chosen: Sequence[Chosen], swapped: Sequence[Chosen]) -> None:
        """Count the next frame."""
        for role in sorted({each.role for each in swapped}):
            ranges = self._ranges.setdefault(role, [])
            if ranges and ranges[-1][1] == self.frames - 1:
                ranges[-1][1] = self.frames
            else:
                ranges.append([self.frames, self.frames])
        self.frames += 1
        self.faces += len(swapped)
        self.extra_faces += max(0, len(swapped) - 1)
        self._found += found
        self._chosen += len(chosen)

    def check(self) -> None:
        """Refuse a video in which nothing was replaced.

        Raises:
            InvalidInputError: ``no_face_found``, ``no_matching_face`` or ``face_unusable``.
        """
        if self.faces:
            return
        if not self._found:
            raise no_face("any frame of the target")
        if not self._chosen:
            message = (
                "nobody in the target is like the reference; send a clearer reference picture, or "
                "lower threshold"
            )
            raise InvalidInputError(message, code="no_matching_face")
        raise UnusableFaceError("no face of the target can be replaced: too small or in profile")

    def describe(self, *, roles: int) -> dict[str, Any]:
        """JSON-ready facts; ranges of frames include both ends."""
        return {
            "faces_found": self._found,
            "faces_replaced": self.faces,
            "faces_skipped": self._chosen - self.faces,
            "replaced": [
                {
                    "role": role,
                    "frames": sum(last - first + 1 for first, last in ranges),
                    "ranges": ranges[:_RANGES_MAX],
                }
                for role, ranges in sorted(self._ranges.items())
            ],
            "roles_missing": sorted(set(range(roles)) - set(self._ranges)),
        }
