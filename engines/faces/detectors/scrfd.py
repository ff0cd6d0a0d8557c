"""SCRFD and what is built like it (det_10g, "RetinaFace-10g"): boxes and points by distances.

For each stride the network gives scores, distances from an anchor to the four sides, and, in most
exports, offsets of five points. Outputs are known by their position alone: all scores by stride,
then all boxes, then all points. 9 outputs or 6 without points: strides 8, 16, 32 with two anchors
for each cell; 15 or 10: strides 8 to 128 with one. Exports for one picture have arrays
[anchors, k], others [n, anchors, k]. Reference: SCRFD of the insightface package.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError
from engines.faces.detectors.letterbox import Fit, Size, fit, lay_out, size_of
from engines.faces.detectors.rows import Rows, faces_of, suppress
from engines.faces.face import Face, Pixels
from engines.faces.nets.batches import batch_limit, slices
from engines.faces.nets.contracts import ContractError
from engines.faces.nets.scaling import Colour, Scaling
from engines.runners.base import Runner

# Faces that fill a picture are seen small, small ones large: both passes, then one suppression.
AUTO_SIZES: tuple[Size, ...] = ((128, 128), (640, 640))
SIZE_STEP = 32
SCORE_MIN = 0.5
OVERLAP_MAX = 0.4
SCALING = Scaling(Colour.RGB, (127.5, 127.5, 127.5), (128.0, 128.0, 128.0))

Arrays = Sequence[NDArray[Any]]

_PICTURE_AXES, _BATCHED_AXES = 4, 3


@dataclass(frozen=True, slots=True)
class Head:
    """What the number of outputs says about a network."""

    strides: tuple[int, ...]
    anchors: int  # at each cell, all with the same centre
    has_points: bool

    @classmethod
    def of(cls, outputs: int) -> "Head":
        """The head with so many outputs; raises ``ContractError`` for another number."""
        heads = {
            6: cls((8, 16, 32), 2, has_points=False),
            9: cls((8, 16, 32), 2, has_points=True),
            10: cls((8, 16, 32, 64, 128), 1, has_points=False),
            15: cls((8, 16, 32, 64, 128), 1, has_points=True),
        }
        if outputs not in heads:
            raise ContractError(
                f"these weights are no face detector of SCRFD's form: they have {outputs} outputs, "
                "and 6, 9, 10 or 15 are known; use det_10g.onnx or a scrfd_*_bnkps.onnx"
            )
        return heads[outputs]


class Scrfd:
    """A detector over a runner that holds a network of SCRFD's form.

    Args:
        runner: the loaded network; it must give points.
        name: the version of the network, e.g. ``scrfd-10g@1``.
        sizes: widths and heights of the passes, multiples of 32; None: the only one the file
            takes, or else ``AUTO_SIZES``.
        score_min: what counts as a face.
        overlap_max: intersection over union of two boxes that may both stay.

    Raises:
        ContractError: the network is no SCRFD, or gives boxes without points.
        InvalidInputError: code ``img_size_unsupported``.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        name: str,
        sizes: Sequence[Size] | None = None,
        score_min: float = SCORE_MIN,
        overlap_max: float = OVERLAP_MAX,
    ) -> None:
        self._head = Head.of(len(runner.outputs))
        if not self._head.has_points:
            raise ContractError(
                "these weights find faces without their five points, which all else needs; "
                "use an export with points, such as det_10g.onnx or scrfd_2.5g_bnkps.onnx"
            )
        self.sizes = _sizes(runner, sizes)
        self._runner = runner
        self._name = name
        self._score_min = score_min
        self._overlap_max = overlap_max

    @property
    def name(self) -> str:
        """The version of the network."""
        return self._name

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of a BGR picture, best score first."""
        [faces] = self.detect_many([pixels])
        return faces

    def detect_many(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces of each picture; several in one run where the file allows it."""
        passes = [self._pass(pictures, size) for size in self.sizes]
        return [
            faces_of(suppress(np.concatenate(rows), overlap_max=self._overlap_max, border_px=1.0))
            for rows in zip(*passes, strict=True)
        ]

    def _pass(self, pictures: Sequence[Pixels], size: Size) -> list[Rows]:
        """Candidates of each picture in its own pixels, looked at in one size."""
        fits = [fit(size_of(pixels), size) for pixels in pictures]
        spec = self._runner.inputs[0]
        is_batched = len(self._runner.outputs[0].shape) == _BATCHED_AXES
        found: list[Rows] = []
        for part in slices(len(pictures), limit=batch_limit(spec) if is_batched else 1):
            laid = [_laid(*pair) for pair in zip(pictures[part], fits[part], strict=True)]
            answer = self._runner.run({spec.name: SCALING.feed(np.stack(laid), dtype=spec.dtype)})
            arrays = [answer[each.name] for each in self._runner.outputs]
            for number, placed in enumerate(fits[part]):
                one = [array[number] for array in arrays] if is_batched else arrays
                rows = decode(one, size=size, score_min=self._score_min)
                found.append(_to_picture(rows, placed))
        return found


def decode(arrays: Arrays, *, size: Size, score_min: float) -> Rows:
    """Turn the arrays of one picture, each [anchors, k], into candidate rows.

    Args:
        arrays: in the order of the network's outputs.
        size: width and height of the canvas.
        score_min: rows below it are left out.

    Returns:
        [n, 15], or [n, 5] without points: x1, y1, x2, y2, five points x, y, score; in pixels of
        the canvas.
    """
    head = Head.of(len(arrays))
    levels = len(head.strides)
    rows = []
    for level, stride in enumerate(head.strides):
        scores = arrays[level].reshape(-1)
        keep = np.flatnonzero(scores >= score_min)
        # the corner of the cell, no half-pixel shift; row by row, each anchor of a cell in turn
        cells = keep // head.anchors
        columns = size[0] // stride
        centres = np.stack([cells % columns, cells // columns], axis=1).astype(np.float64) * stride
        sides = arrays[level + levels].reshape(-1, 4)[keep].astype(np.float64) * stride
        parts = [centres - sides[:, :2], centres + sides[:, 2:]]
        if head.has_points:
            offsets = arrays[level + 2 * levels].reshape(-1, 5, 2)[keep].astype(np.float64)
            parts.append((centres[:, None] + offsets * stride).reshape(-1, 10))
        rows.append(np.concatenate([*parts, scores[keep, None].astype(np.float64)], axis=1))
    return np.concatenate(rows)


def _laid(pixels: Pixels, placed: Fit) -> NDArray[np.uint8]:
    import cv2

    return lay_out(pixels, placed, method=cv2.INTER_LINEAR)


def _to_picture(rows: Rows, placed: Fit) -> Rows:
    # the reference divides by the ratio of the heights in both directions
    return np.concatenate([rows[:, :-1] / placed.ratios[1], rows[:, -1:]], axis=1)


def _sizes(runner: Runner, wanted: Sequence[Size] | None) -> tuple[Size, ...]:
    given = runner.inputs[0].shape
    if len(runner.inputs) != 1 or len(given) != _PICTURE_AXES:
        raise ContractError(f"these weights are no SCRFD: they take {given}, not a picture")
    height, width = given[2:]
    if wanted is None and height is not None and width is not None:
        return ((width, height),)
    sizes = tuple(wanted) if wanted else AUTO_SIZES
    for size in sizes:
        if min(size) < SIZE_STEP or size[0] % SIZE_STEP or size[1] % SIZE_STEP:
            message = (
                f"faces are looked for at multiples of {SIZE_STEP} pixels, not {size[0]}x{size[1]}"
            )
            raise InvalidInputError(message, code="img_size_unsupported")
        if (width or size[0], height or size[1]) != size:
            message = (
                f"this face detector was exported for {width}x{height} only, not for "
                f"{size[0]}x{size[1]}: leave the size out or send that"
            )
            raise InvalidInputError(message, code="img_size_unsupported")
    return sizes
