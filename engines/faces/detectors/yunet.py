"""YuNet: a small face detector with five points, anchor-free, three strides.

The network takes raw 0..255 BGR and gives four arrays per stride: class and object scores
[n, cells, 1], boxes [n, cells, 4] and points [n, cells, 10], row by row over the grid of that
stride.
"""

from collections.abc import Mapping, Sequence
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError
from engines.faces.detectors.letterbox import Fit, Size, fit, size_of
from engines.faces.detectors.rows import Rows, faces_of, suppress
from engines.faces.face import Face, Pixels
from engines.faces.nets.batches import batch_limit, slices
from engines.faces.nets.contracts import ContractError
from engines.runners.base import Runner

STRIDES = (8, 16, 32)
SIZE: Size = (640, 640)  # trained size; pictures are fitted into it
SIZE_STEP = 32
SCORE_MIN = 0.75
OVERLAP_MAX = 0.3  # intersection over union of two boxes that may both stay

_OUTPUTS = {f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES}


class YuNet:
    """A detector over a runner that holds the YuNet network.

    Args:
        runner: the loaded network.
        name: the version of the network, e.g. ``yunet@2023mar``.
        size: width and height of the canvas; another than 640 x 640 needs a file exported for it
            or for any size.
        score_min: what counts as a face; the root of class times object score.

    Raises:
        ContractError: the network is no YuNet.
        InvalidInputError: code ``img_size_unsupported``: it takes another size only.
    """

    def __init__(
        self, runner: Runner, *, name: str, size: Size = SIZE, score_min: float = SCORE_MIN
    ) -> None:
        _check(runner, size)
        self._runner = runner
        self._size = size
        self._score_min = score_min
        self._name = name
        self._kept = local()  # what the network was fed last, for each thread that looks

    @property
    def name(self) -> str:
        """The version of the network, e.g. ``yunet@2023mar``."""
        return self._name

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of a BGR picture, best score first."""
        [faces] = self.detect_many([pixels])
        return faces

    def detect_many(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces of each picture; several in one run where the file allows it."""
        fits = [fit(size_of(pixels), self._size) for pixels in pictures]
        found: list[list[Face]] = []
        spec = self._runner.inputs[0]
        for part in slices(len(pictures), limit=batch_limit(spec)):
            outputs = self._runner.run({spec.name: self._feed(pictures[part], fits[part])})
            found += [self._read(outputs, *placed) for placed in enumerate(fits[part])]
        return found

    def _feed(self, pictures: Sequence[Pixels], fits: Sequence[Fit]) -> NDArray[np.float32]:
        """The network's input [n, 3, height, width].

        The frames of a video lie alike, so the array of the last call is written over: five
        megabytes of new memory cost as much as resizing does.
        """
        if getattr(self._kept, "fits", None) != fits:
            width, height = self._size
            self._kept.feed = np.zeros((len(pictures), 3, height, width), dtype=np.float32)
            self._kept.fits = fits
        feed: NDArray[np.float32] = self._kept.feed
        for planes, pixels, placed in zip(feed, pictures, fits, strict=True):
            _write(planes, pixels, placed)
        return feed

    def _read(self, outputs: Mapping[str, NDArray[Any]], number: int, placed: Fit) -> list[Face]:
        one = {name: outputs[name][number] for name in _OUTPUTS}
        rows = decode(one, size=self._size, score_min=self._score_min)
        return faces_of(suppress(rows, overlap_max=OVERLAP_MAX), placed.ratios)


def decode(outputs: Mapping[str, NDArray[Any]], *, size: Size, score_min: float) -> Rows:
    """Turn the twelve arrays of one picture, each [cells, k], into candidate rows.

    Returns:
        [n, 15]: x1, y1, x2, y2, five points x, y, score; in pixels of the canvas of ``size``.
    """
    return np.concatenate([_decode_stride(outputs, each, size[0], score_min) for each in STRIDES])


def _decode_stride(
    outputs: Mapping[str, NDArray[Any]], stride: int, width: int, score_min: float
) -> Rows:
    # cell corner, no half-pixel shift: (column, row) * stride
    columns = width // stride
    classes = np.clip(outputs[f"cls_{stride}"][:, 0], 0.0, 1.0)
    objects = np.clip(outputs[f"obj_{stride}"][:, 0], 0.0, 1.0)
    scores = np.sqrt(classes * objects)
    keep = np.flatnonzero(scores >= score_min)
    cells = np.stack([keep % columns, keep // columns], axis=1).astype(np.float64)
    boxes = outputs[f"bbox_{stride}"][keep].astype(np.float64)
    points = outputs[f"kps_{stride}"][keep].astype(np.float64).reshape(-1, 5, 2)
    centres = (cells + boxes[:, :2]) * stride
    halves = np.exp(boxes[:, 2:]) * stride / 2
    points = (points + cells[:, None, :]) * stride
    return np.concatenate(
        [centres - halves, centres + halves, points.reshape(-1, 10), scores[keep, None]], axis=1
    )


def _write(planes: NDArray[np.float32], pixels: Pixels, placed: Fit) -> None:
    """Lay a picture into its corner of three planes, whose rest is 0 already."""
    import cv2

    columns, rows = placed.scaled
    # Area averaging keeps small faces of a large picture; bilinear would alias them away.
    method = cv2.INTER_AREA if columns < placed.picture[0] else cv2.INTER_LINEAR
    small = cv2.resize(pixels, placed.scaled, interpolation=method)
    for plane, colour in zip(planes, cv2.split(small), strict=True):
        plane[:rows, :columns] = colour


def _check(runner: Runner, size: Size) -> None:
    given = runner.inputs[0].shape
    if {spec.name for spec in runner.outputs} != _OUTPUTS or len(given) != 4:  # noqa: PLR2004 - n, 3, h, w
        raise ContractError(
            "these weights are no YuNet: one input [n, 3, height, width] and the twelve outputs "
            "cls, obj, bbox and kps of three strides are needed; use the file of opencv_zoo"
        )
    width, height = size
    if width % SIZE_STEP or height % SIZE_STEP or min(size) < SIZE_STEP:
        message = f"faces are looked for at multiples of {SIZE_STEP} pixels, not {width}x{height}"
        raise InvalidInputError(message, code="img_size_unsupported")
    if not runner.inputs[0].accepts((given[0] or 1, 3, height, width)):
        message = (
            f"this face detector was exported for {given[3]}x{given[2]} only, not for "
            f"{width}x{height}: leave the size out or send that"
        )
        raise InvalidInputError(message, code="img_size_unsupported")
