"""YOLOX as exported to ONNX: raw cells, decoded here.

input   [1, 3, height, width]  BGR, 0..255
output  [1, cells, 5 + classes]  per cell of strides 8, 16, 32: x y offsets in cells, log w h,
        objectness, a probability per class
"""

from collections.abc import Sequence

import numpy as np

from engines.detect.detection import Detection, Floats, Pixels, Question, as_detections
from engines.detect.head import ContractError, check_numbers
from engines.detect.labels import COCO, names_in
from engines.detect.letterbox import Fit, fit_corner
from engines.detect.network import Family
from engines.detect.nms import keep_best
from engines.runners.base import Array, Runner

STRIDES = (8, 16, 32)
_BEFORE_CLASSES = 5  # box and objectness


def yolox(runner: Runner) -> Family:
    """How this network is fed and read; raises ``ContractError`` for one of another kind."""
    columns = runner.outputs[0].shape[-1] if runner.outputs[0].shape else None
    named = len(names_in(runner.metadata) or COCO)
    if columns is not None and columns != _BEFORE_CLASSES + named:
        raise ContractError(
            f"these weights are no YOLOX export: their rows have {columns} numbers, for {named} "
            f"classes {_BEFORE_CLASSES + named} were expected; export the model to ONNX again"
        )
    return Family("YOLOX", fit=fit_corner, feed=feed, read=read)


def feed(canvas: Pixels) -> Array:
    """BGR rows [h, w, 3] as BGR planes [3, h, w] in 0..255."""
    return np.ascontiguousarray(canvas.transpose(2, 0, 1), dtype=np.float32)


def read(
    outputs: Sequence[Array], fit: Fit, question: Question, labels: tuple[str, ...]
) -> list[Detection]:
    """The output of one picture as detections."""
    return read_cells(outputs[0], fit, question, labels)


def read_cells(
    rows: Floats, fit: Fit, question: Question, labels: tuple[str, ...]
) -> list[Detection]:
    """The output of one picture, [cells, 5 + classes], as detections."""
    chances = rows[:, 5:] * rows[:, 4:5]
    classes = chances.argmax(axis=1)
    scores: Floats = np.take_along_axis(chances, classes[:, None], axis=1)[:, 0]
    check_numbers(scores)
    wanted = scores > question.conf
    if question.classes is not None:
        wanted &= np.isin(classes, question.classes)
    boxes = cell_boxes(rows[:, :4], fit.canvas, wanted)
    check_numbers(boxes)
    scores, classes = scores[wanted], classes[wanted]
    kept = keep_best(boxes, scores, classes, iou=question.iou, limit=question.max_det)
    return as_detections(fit.to_picture(boxes[kept]), scores[kept], classes[kept], labels)


def cell_boxes(raw: Floats, canvas: tuple[int, int], wanted: np.ndarray) -> Floats:
    """Boxes x1 y1 x2 y2 in canvas pixels of the wanted cells."""
    corners, strides = grid(canvas)
    raw, corners, strides = raw[wanted], corners[wanted], strides[wanted]
    centres = (raw[:, :2] + corners) * strides
    halves = np.exp(raw[:, 2:]) * strides / 2
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)


def grid(canvas: tuple[int, int]) -> tuple[Floats, Floats]:
    """Column and row of every cell [cells, 2] and its stride [cells, 1], in output order."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: canvas[0] // stride, : canvas[1] // stride]
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return (
        np.concatenate(corners).astype(np.float32),
        np.concatenate(strides).astype(np.float32),
    )
