"""What was done to the frames of a video so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.errors import InvalidInputError
from engines.face_swap.selection import Chosen, no_face
from engines.faces.geometry import UnusableFaceError


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
            self._extend(role, self.frames, self.frames)
        self.frames += 1
        self.faces += len(swapped)
        self.extra_faces += max(0, len(swapped) - 1)
        self._found += found
        self._chosen += len(chosen)

    def join(self, part: Mapping[str, Any]) -> None:
        """Count the frames of the next part of a video, as ``describe`` told them."""
        for each in part["replaced"]:
            for first, last in each["ranges"]:
                self._extend(each["role"], self.frames + first, self.frames + last)
        self.frames += part["frames"]
        self.faces += part["faces_replaced"]
        self.extra_faces += part["extra_faces"]
        self._found += part["faces_found"]
        self._chosen += part["faces_replaced"] + part["faces_skipped"]

    def _extend(self, role: int, first: int, last: int) -> None:
        ranges = self._ranges.setdefault(role, [])
        if ranges and ranges[-1][1] == first - 1:
            ranges[-1][1] = last
        else:
            ranges.append([first, last])

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
            "extra_faces": self.extra_faces,
            "faces_skipped": self._chosen - self.faces,
            "replaced": [
                {
                    "role": role,
                    "frames": sum(last - first + 1 for first, last in ranges),
                    "ranges": [list(each) for each in ranges],
                }
                for role, ranges in sorted(self._ranges.items())
            ],
            "roles_missing": sorted(set(range(roles)) - set(self._ranges)),
        }
