"""Sixty-eight points of a face, by networks of 2DFAN4's form; they refine the five of a detector.

``input`` [1, 3, 256, 256] BGR 0..1; the first output [1, 68, 3] are x, y and a weight on a grid of
64, the second [1, 68, 64, 64] says how sure each point is. Contract: 1adrianb/face-alignment,
as FaceFusion exports it.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Face, Pixels, Points
from engines.faces.geometry import Affine, apply, inverse
from engines.faces.nets.contracts import ContractError
from engines.runners.base import Runner

SIZE, GRID, POINTS = 256, 64, 68
FACE_PX = 195.0  # the longer side of a face's box in the crop
SCORE_MIN = 0.5  # below it the five points of the detector are better
SURE = 0.9  # a mean peak as high as this is a score of 1
DARK = 30.0  # mean lightness (0..255) below which contrast is raised first
_CLIP, _TILES = 2.0, (8, 8)


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """The points of one face."""

    points: Points  # [68, 2] in pixels of the picture, in the order of the 300-W markup
    score: float  # 0..1

    def five(self) -> Points:
        """The five points of a face: middles of the eyes, tip of the nose, corners of the mouth."""
        eyes = self.points[36:42].mean(axis=0), self.points[42:48].mean(axis=0)
        return np.stack([*eyes, self.points[30], self.points[48], self.points[54]])


class LandmarkNetwork:
    """Finds sixty-eight points in the box of a face.

    Raises:
        ContractError: the network has other inputs or outputs.
    """

    def __init__(self, runner: Runner) -> None:
        _check(runner)
        self.runner = runner

    def find(self, pixels: Pixels, face: Face) -> Landmarks:
        """The points of a face of a BGR picture."""
        matrix = _placed(face.box)
        spec = self.runner.inputs[0]
        feed = _crop(pixels, matrix).astype(spec.dtype) / np.asarray(255, spec.dtype)
        outputs = self.runner.run({spec.name: np.ascontiguousarray(feed.transpose(2, 0, 1)[None])})
        points, heatmaps = (outputs[each.name] for each in self.runner.outputs[:2])
        on_crop = points[0, :, :2].astype(np.float64) * (SIZE / GRID)
        return Landmarks(apply(inverse(matrix), on_crop), _score(heatmaps))

    def refine(self, pixels: Pixels, face: Face) -> Face:
        """The face with five points of the sixty-eight, where they are sure enough."""
        landmarks = self.find(pixels, face)
        return face if landmarks.score <= SCORE_MIN else replace(face, points=landmarks.five())


def _placed(box: tuple[float, float, float, float]) -> Affine:
    x1, y1, x2, y2 = box
    scale = FACE_PX / max(x2 - x1, y2 - y1, 1.0)
    shift = (SIZE - np.array([x1 + x2, y1 + y2]) * scale) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], dtype=np.float64)


def _crop(pixels: Pixels, matrix: Affine) -> Pixels:
    import cv2

    crop = np.asarray(cv2.warpAffine(pixels, matrix, (SIZE, SIZE)), dtype=np.uint8)
    lab = cv2.cvtColor(crop, cv2.COLOR_BGR2LAB)
    if lab[..., 0].mean() >= DARK:
        return crop
    lab[..., 0] = cv2.createCLAHE(_CLIP, _TILES).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), dtype=np.uint8)


def _score(heatmaps: NDArray[Any]) -> float:
    peak = float(heatmaps[0].max(axis=(1, 2)).mean())
    return float(np.interp(peak, (0.0, SURE), (0.0, 1.0)))


def _check(runner: Runner) -> None:
    shapes = [each.shape for each in runner.outputs]
    fits = (
        len(runner.inputs) == 1
        and runner.inputs[0].accepts((1, 3, SIZE, SIZE))
        and len(shapes) >= 2  # noqa: PLR2004 - points, heatmaps
        and runner.outputs[0].accepts((1, POINTS, 3))
        and runner.outputs[1].accepts((1, POINTS, GRID, GRID))
    )
    if not fits:
        raise ContractError(
            f"these weights are no 2DFAN4: they take {runner.inputs[0].shape} and give {shapes}; "
            f"[1, 3, {SIZE}, {SIZE}] in, [1, {POINTS}, 3] and [1, {POINTS}, {GRID}, {GRID}] out "
            "are needed"
        )
