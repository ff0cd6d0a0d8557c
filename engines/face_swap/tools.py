"""Everything one run works with: detector, embedder, swapper, masks, enhancer; of one lane."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.face_swap.finishing import Finisher
from engines.face_swap.masks import Masker
from engines.face_swap.params import Mask
from engines.face_swap.swapper import Swapper
from engines.face_swap.timing import LaneClock
from engines.faces.align.crop import Crop, stacked
from engines.faces.face import Face, FaceDetector, Pixels
from engines.faces.geometry import UnusableFaceError
from engines.faces.nets.embedder import Embedder, Vector, unit
from engines.weights import WeightsError


@dataclass(frozen=True, slots=True)
class Tools:
    """The loaded parts of a run. Lanes have one each; only one thread uses it at a time."""

    clock: LaneClock
    detector: FaceDetector
    embedder: Embedder | None  # None: persons cannot be told apart here
    swapper: Swapper
    masks: tuple[Mask, ...]
    maskers: tuple[Masker, ...]  # those of the masks that are networks
    finisher: Finisher
    blend: float
    no_embedder: WeightsError  # what to say where one is needed

    def detect(self, pixels: Pixels) -> list[Face]:
        """The faces of a BGR picture, best first."""
        return self.detector.detect(pixels)

    def recognise(self, pixels: Pixels, faces: Sequence[Face]) -> list[Vector | None]:
        """Unit vectors of faces of a picture; None for a face that names nobody.

        Raises:
            WeightsError: code ``weights_missing``: nothing here tells persons apart.
        """
        if self.embedder is None:
            raise self.no_embedder
        crops: list[Crop | None] = []
        for face in faces:
            try:
                crops.append(self.embedder.crop(pixels, face.points))
            except UnusableFaceError:
                crops.append(None)
        usable = [crop for crop in crops if crop is not None]
        if not usable:
            return [None] * len(faces)
        vectors = iter(self.embedder.embed_crops(stacked(usable)))
        return [None if crop is None else _unit(next(vectors)) for crop in crops]


def _unit(vector: Vector) -> Vector | None:
    try:
        return unit(vector)
    except UnusableFaceError:
        return None
