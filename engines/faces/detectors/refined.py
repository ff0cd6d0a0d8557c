"""A detector whose five points are taken from sixty-eight, where those are sure enough."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.faces.face import Face, FaceDetector, Pixels
from engines.faces.nets.landmarks import LandmarkNetwork


@dataclass(frozen=True, slots=True)
class Refined:
    """Finds what ``detector`` finds, and asks ``landmarks`` about each face."""

    detector: FaceDetector
    landmarks: LandmarkNetwork

    @property
    def name(self) -> str:
        """The detector's, and what refined it."""
        return f"{self.detector.name}+68"

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of a BGR picture, best first."""
        [faces] = self.detect_many([pixels])
        return faces

    def detect_many(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces of each picture."""
        found = self.detector.detect_many(pictures)
        return [
            [self.landmarks.refine(pixels, face) for face in faces]
            for pixels, faces in zip(pictures, found, strict=True)
        ]
