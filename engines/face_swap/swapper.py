"""What turns a source face into a new face over a picture: the seam of the models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from engines.face_swap import classical
from engines.face_swap.new_face import NewFace, Patch, Weights
from engines.face_swap.oval import face_oval
from engines.face_swap.params import Mask
from engines.face_swap.source import Source
from engines.face_swap.timing import LaneClock
from engines.faces.align.box_mask import box_mask
from engines.faces.align.colour import match_colours
from engines.faces.align.crop import Crop, stacked
from engines.faces.face import Face, Pixels
from engines.faces.geometry import UnusableFaceError, apply
from engines.faces.nets.latents import Latents
from engines.faces.nets.reserve import ReserveRunner
from engines.faces.nets.swapper import Swapper as SwapNetwork
from engines.faces.nets.swapper import clipped
from engines.metering import Execution

Made = NewFace | UnusableFaceError
INSIDE = 0.5  # weight of the mask from which on a pixel's colour counts


@dataclass(frozen=True, slots=True, eq=False)
class Casting:
    """One face of a picture and the person whose face it gets."""

    face: Face
    source: Source


class Swapper(Protocol):
    """One loaded model. It never changes the picture it is shown."""

    @property
    def execution(self) -> Execution:
        """Where and how it runs."""

    @property
    def switched(self) -> str | None:
        """A sentence where other weights than the model's own had to go on."""

    @property
    def takes_pixels(self) -> bool:
        """Whether it uses the pixels of a source; else its vector."""

    @property
    def mask(self) -> Mask:
        """The shape that is replaced where nobody asked for another."""

    def make(
        self, pixels: Pixels, castings: Sequence[Casting], *, mask: Sequence[Mask], clock: LaneClock
    ) -> list[Made]:
        """A new face for each, or why there can be none."""


@dataclass(frozen=True, slots=True)
class ClassicalSwapper:
    """The built-in one; see ``classical``."""

    takes_pixels: bool = True
    mask: Mask = Mask.ELLIPSE
    switched: str | None = None

    @property
    def execution(self) -> Execution:
        """OpenCV and NumPy."""
        return Execution.opencv()

    def make(
        self, pixels: Pixels, castings: Sequence[Casting], *, mask: Sequence[Mask], clock: LaneClock
    ) -> list[Made]:
        """As ``Swapper``; of ellipse and box the smaller shape."""
        shape = Mask.BOX if Mask.ELLIPSE not in mask and Mask.BOX in mask else Mask.ELLIPSE
        made: list[Made] = []
        for casting in castings:
            shown = casting.source.shown
            assert shown is not None  # noqa: S101 - it takes pixels
            with clock.stage("swap"):
                try:
                    made.append(
                        classical.lay(pixels, casting.face, shown.pixels, shown.face, mask=shape)
                    )
                except UnusableFaceError as error:
                    made.append(error)
        return made


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSwapper:
    """A network that draws the face anew; its runs are on the clock already.

    Args:
        network: of the run's lane.
        boost: how many times its own size the crop is.
        matches_colours: give new faces the colours of those they replace.
    """

    network: SwapNetwork
    boost: int = 1
    matches_colours: bool = False
    takes_pixels: bool = False
    mask: Mask = Mask.BOX
    _latents: dict[Source, Latents] = field(default_factory=dict)  # made once for each
    _boxes: dict[int, Weights] = field(default_factory=dict)  # the same for every face

    @property
    def switched(self) -> str | None:
        """As ``Swapper``."""
        runner = self.network.runner
        return runner.switched if isinstance(runner, ReserveRunner) else None

    @property
    def execution(self) -> Execution:
        """As the network's runner says."""
        return Execution.of(self.network.runner)

    def make(
        self, pixels: Pixels, castings: Sequence[Casting], *, mask: Sequence[Mask], clock: LaneClock
    ) -> list[Made]:
        """As ``Swapper``; all faces of a picture in as few runs as the network takes."""
        cut = [self._cut(pixels, casting.face) for casting in castings]
        crops = [each for each in cut if isinstance(each, Crop)]
        if not crops:
            return [each for each in cut if isinstance(each, UnusableFaceError)]
        latents = np.concatenate(
            [
                self._latent(casting.source)
                for casting, each in zip(castings, cut, strict=True)
                if isinstance(each, Crop)
            ]
        )
        drawn = iter(clipped(self.network.swap(stacked(crops), latents)))
        made: list[Made] = []
        for casting, each in zip(castings, cut, strict=True):
            if isinstance(each, UnusableFaceError):
                made.append(each)
                continue
            with clock.stage("blend"):
                made.append(self._patch(each, next(drawn), casting.face, mask))
        return made

    def _cut(self, pixels: Pixels, face: Face) -> Crop | UnusableFaceError:
        try:
            return self.network.crop(pixels, face.points, boost=self.boost)
        except UnusableFaceError as error:
            return error

    def _latent(self, source: Source) -> Latents:
        if source not in self._latents:
            assert source.vector is not None  # noqa: S101 - there is an embedder, see ``loading``
            self._latents[source] = self.network.latent(source.vector[None])
        return self._latents[source]

    def _box(self, size: int) -> Weights:
        if size not in self._boxes:
            self._boxes[size] = box_mask(size)
        return self._boxes[size]

    def _patch(self, crop: Crop, drawn: Pixels, face: Face, masks: Sequence[Mask]) -> Made:
        mask = self._box(crop.size)
        if Mask.ELLIPSE in masks:
            try:
                oval = face_oval(apply(crop.matrix, face.points))
            except UnusableFaceError as error:
                return error
            radius = oval.radius((0, 0, crop.size, crop.size), mask=Mask.ELLIPSE)
            mask = np.minimum(mask, np.clip((1.0 - radius) / classical.FEATHER, 0.0, 1.0))
        if self.matches_colours:
            drawn = match_colours(drawn, crop.pixels, mask > INSIDE)
        return Patch(drawn, crop.matrix, mask)
