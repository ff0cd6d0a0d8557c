"""Masks of networks: what lies before a face, and which of its regions are replaced."""

from dataclasses import dataclass
from typing import Protocol

from engines.face_swap.new_face import NewFace
from engines.faces.align.crop import Border, crop_face, crop_matrix
from engines.faces.align.templates import Template
from engines.faces.face import Face, Pixels
from engines.faces.nets.occlusion import SIZE as OCCLUSION_SIZE
from engines.faces.nets.occlusion import OcclusionMasks
from engines.faces.nets.regions import SIZE as REGION_SIZE
from engines.faces.nets.regions import RegionMasks

# The position that swappers are trained in, so also the one that masks are made in.
TEMPLATE = Template.ARCFACE_128


class Masker(Protocol):
    """Makes a new face smaller where a network says so; its runs are on the clock already."""

    def restrict(self, new: NewFace, pixels: Pixels, face: Face) -> NewFace:
        """The new face, less what the mask leaves out; ``pixels`` is the picture as it was."""


@dataclass(frozen=True, slots=True)
class OcclusionMasker:
    """What lies before the face keeps its place: looks at the picture as it was."""

    network: OcclusionMasks

    def restrict(self, new: NewFace, pixels: Pixels, face: Face) -> NewFace:
        """As ``Masker``."""
        crop = crop_face(
            pixels, face.points, template=TEMPLATE, size=OCCLUSION_SIZE, border=Border.REPEAT
        )
        [mask] = self.network.masks(crop.pixels[None])
        return new.restrict(mask, crop.matrix)


@dataclass(frozen=True, slots=True)
class RegionMasker:
    """Only regions of a face are replaced: looks at the new face."""

    network: RegionMasks

    def restrict(self, new: NewFace, pixels: Pixels, face: Face) -> NewFace:  # noqa: ARG002 - the protocol
        """As ``Masker``."""
        matrix = crop_matrix(face.points, template=TEMPLATE, size=REGION_SIZE)
        [mask] = self.network.masks(new.view(matrix, size=REGION_SIZE)[None])
        return new.restrict(mask, matrix)
