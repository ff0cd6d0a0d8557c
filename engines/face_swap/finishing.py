"""What happens to a swapped face on its way into the picture: nothing, filters, or a network."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engines.face_swap import detail
from engines.face_swap.masks import Masker
from engines.face_swap.new_face import NewFace, Patch
from engines.face_swap.timing import LaneClock
from engines.faces.align.box_mask import box_mask
from engines.faces.align.crop import crop_face, crop_matrix
from engines.faces.face import Face, Pixels
from engines.faces.nets.enhancer import Enhancer
from engines.faces.nets.swapper import clipped

# enhance_level -> share of the enhanced face; levels 0 and 1 enhance nothing.
SHARES = {2: 0.8, 3: 1.0}
# An enlarger looks at a large face in more pixels, or it would lose what is there.
_LARGE_SCALE = 0.5


class Finisher(Protocol):
    """Lays a new face over a picture, better than it came."""

    @property
    def name(self) -> str | None:
        """name@version of what enhances; None: nothing does."""

    def finish(
        self, picture: Pixels, face: Face, new: NewFace, *, blend: float, clock: LaneClock
    ) -> None:
        """Lay it over the picture, in place; ``blend`` is the share of the new face."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Lays it down as it is."""

    name: str | None = None

    def finish(
        self,
        picture: Pixels,
        face: Face,  # noqa: ARG002 - the protocol
        new: NewFace,
        *,
        blend: float,
        clock: LaneClock,
    ) -> None:
        """As ``Finisher``."""
        with clock.stage("blend"):
            new.compose(picture, blend=blend)


@dataclass(frozen=True, slots=True)
class Detailed:
    """Filters that raise detail; see ``detail``."""

    level: int
    name: str | None = detail.NAME

    def finish(
        self, picture: Pixels, face: Face, new: NewFace, *, blend: float, clock: LaneClock
    ) -> None:
        """As ``Finisher``."""
        with clock.stage("enhance"):
            # the bands follow the face's size in the pixels that are filtered
            side_px = new.scale * (face.box[2] - face.box[0])
            sharper = detail.enhance(new.pixels, level=self.level, face_side_px=side_px)
        with clock.stage("blend"):
            new.repainted(sharper).compose(picture, blend=blend)


@dataclass(frozen=True, slots=True)
class Restored:
    """A network that draws the swapped face anew, as it lies in the picture.

    Args:
        name: of its weights.
        network: its runs are on the clock already.
        share: of the enhanced face.
        maskers: what lies before a face is not drawn anew either.
    """

    name: str | None
    network: Enhancer
    share: float
    maskers: tuple[Masker, ...] = ()

    def finish(
        self, picture: Pixels, face: Face, new: NewFace, *, blend: float, clock: LaneClock
    ) -> None:
        """As ``Finisher``."""
        before = picture.copy() if blend < 1 or self.maskers else picture
        with clock.stage("blend"):
            new.compose(picture, blend=1.0)
            crop = crop_face(
                picture,
                face.points,
                template=self.network.contract.template,
                size=self._side(face),
                border=self.network.contract.border,
            )
        drawn = clipped(self.network.enhance(crop.pixels[None]))[0]
        better: NewFace = Patch(
            drawn, self.network.matrix(crop.matrix), box_mask(int(drawn.shape[0]))
        )
        for masker in self.maskers:
            better = masker.restrict(better, before, face)
        with clock.stage("blend"):
            better.compose(picture, blend=self.share)
            if blend < 1:
                mixed = before + (picture.astype(np.float32) - before) * np.float32(blend)
                picture[:] = np.rint(mixed).astype(np.uint8)

    def _side(self, face: Face) -> int:
        """Of the crop: a restorer has one, an enlarger takes twice as much for a large face."""
        contract = self.network.contract
        matrix = crop_matrix(face.points, template=contract.template, size=contract.size)
        is_small = float(np.hypot(matrix[0, 0], matrix[1, 0])) < _LARGE_SCALE
        return contract.size * 2 if contract.factor > 1 and is_small else contract.size
