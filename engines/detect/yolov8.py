"""YOLOv8 as exported to ONNX: one input, one output, boxes already decoded in the graph.

images   [n, 3, height, width]  RGB, 0..1
output0  [n, 4 + classes, anchors]  cx cy w h in canvas pixels, then a probability per class
or       [n, k, 6]  x1 y1 x2 y2 score class, from exports with suppression inside the graph
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.detect.detection import Detection, Floats, Pixels, Question
from engines.detect.labels import label_of
from engines.detect.letterbox import Fit, fit_centred
from engines.detect.network import Family
from engines.detect.nms import keep_best
from engines.runners.base import Array

_END_TO_END_COLUMNS = 6


def feed(canvas: Pixels) -> Array:
    """BGR rows [h, w, 3] as RGB planes [3, h, w] in 0..1."""
    planes: Array = np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1), dtype=np.float32)
    planes /= 255
    return planes


def read(
    outputs: Sequence[Array], fit: Fit, question: Question, labels: tuple[str, ...]
) -> list[Detection]:
    """The output of one picture as detections; both layouts, told apart by the last length."""
    return read_rows(outputs[0], fit, question, labels)


def read_rows(
    rows: Floats, fit: Fit, question: Question, labels: tuple[str, ...]
) -> list[Detection]:
    """The output of one picture as detections; both layouts, told apart by the last length."""
    if rows.shape[-1] == _END_TO_END_COLUMNS:
        boxes, scores, classes = rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)
    else:
        boxes, scores, classes = _best_classes(rows, question.conf)
    wanted = scores > question.conf
    if question.classes is not None:
        wanted &= np.isin(classes, question.classes)
    boxes, scores, classes = boxes[wanted], scores[wanted], classes[wanted]
    if rows.shape[-1] == _END_TO_END_COLUMNS:
        kept = np.argsort(-scores, kind="stable")[: question.max_det]
    else:
        kept = keep_best(boxes, scores, classes, iou=question.iou, limit=question.max_det)
    return as_detections(fit.to_picture(boxes[kept]), scores[kept], classes[kept], labels)


def as_detections(
    boxes: Floats, scores: Floats, classes: NDArray[np.int64], labels: tuple[str, ...]
) -> list[Detection]:
    """Rows of picture boxes as values."""
    return [
        Detection(
            class_id=class_id,
            label=label_of(labels, class_id),
            confidence=score,
            box=(box[0], box[1], box[2], box[3]),
        )
        for box, score, class_id in zip(
            boxes.tolist(), scores.tolist(), classes.tolist(), strict=True
        )
    ]


def _best_classes(rows: Floats, conf: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Anchors above ``conf`` with their one best class."""
    candidates = rows[:, rows[4:].max(axis=0) > conf]  # [4 + classes, n]
    classes = candidates[4:].argmax(axis=0)
    scores: Floats = np.take_along_axis(candidates[4:], classes[None], axis=0)[0]
    centres, halves = candidates[:2].T, candidates[2:4].T / 2
    return np.concatenate([centres - halves, centres + halves], axis=1), scores, classes


YOLOV8 = Family("YOLOv8", fit=fit_centred, feed=feed, read=read)
