"""Faces of one picture replaced, stage by stage: swap, mask, enhance, blend."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.face_swap.new_face import NewFace
from engines.face_swap.swapper import Casting
from engines.face_swap.tools import Tools
from engines.faces.face import Pixels
from engines.faces.geometry import UnusableFaceError


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of the castings of one picture."""

    swapped: tuple[Casting, ...]
    skipped: tuple[tuple[Casting, UnusableFaceError], ...]


def replace_faces(pixels: Pixels, castings: Sequence[Casting], tools: Tools) -> Replaced:
    """Replace faces of a picture, in place.

    Every new face is made of the picture as it was: faces close together do not see each other's.
    """
    made = tools.swapper.make(pixels, castings, mask=tools.masks, clock=tools.clock)
    swapped: list[tuple[Casting, NewFace]] = []
    skipped: list[tuple[Casting, UnusableFaceError]] = []
    for casting, new in zip(castings, made, strict=True):
        if isinstance(new, UnusableFaceError):
            skipped.append((casting, new))
            continue
        restricted = new
        for masker in tools.maskers:
            restricted = masker.restrict(restricted, pixels, casting.face)
        swapped.append((casting, restricted))
    for casting, new in swapped:
        tools.finisher.finish(pixels, casting.face, new, blend=tools.blend, clock=tools.clock)
    return Replaced(tuple(casting for casting, _ in swapped), tuple(skipped))
