"""YOLOX as exported to ONNX: raw cells, decoded here.

input   [1, 3, height, width]  BGR, 0..255
output  [1, cells, 5 + classes]  per cell of strides 8, 16, 32: x y offsets in cells, log w h,
        objectness, a probability per class
"""

from collections.abc import Sequence

import numpy as np

from engines.detect.detection import Detection, Floats, Pixels, Question
from engines.detect.labels import COCO, names_in
from engines.detect.letterbox import Fit, fit_corner, lay_out
from engines.detect.nms import keep_best
from engines.detect.yolov8 import as_detections, check_shapes
from engines.metering import Execution, StageClock
from engines.runners.base import Runner

STRIDES = (8, 16, 32)


class YoloX:
    """A detector over a runner that holds a YOLOX network."""

    def __init__(self, runner: Runner) -> None:
        check_shapes(runner, family="YOLOX")
        self._runner = runner
        self._input = runner.inputs[0]
        self.labels = names_in(runner.metadata) or COCO
        self.execution = Execution.of(runner)

    def detect(
        self, frames: Sequence[Pixels], question: Question, clock: StageClock
    ) -> list[list[Detection]]:
        """Detections of each frame, one run per frame."""
        return [self._detect_one(frame, question, clock) for frame in frames]

    def _detect_one(self, frame: Pixels, question: Question, clock: StageClock) -> list[Detection]:
        with clock.aside("preprocess"):
            fit = fit_corner((int(frame.shape[0]), int(frame.shape[1])), question.size)
            planes = lay_out(frame, fit).transpose(2, 0, 1)[None]
            feed = np.ascontiguousarray(planes, dtype=self._input.dtype)
        outputs = self._runner.run({self._input.name: feed})
        clock.add("infer", self._runner.elapsed_ms)
        with clock.aside("postprocess"):
            rows = outputs[self._runner.outputs[0].name][0].astype(np.float32, copy=False)
            return read_cells(rows, fit, question, self.labels)


def read_cells(
    rows: Floats, fit: Fit, question: Question, labels: tuple[str, ...]
) -> list[Detection]:
    """The output of one picture, [cells, 5 + classes], as detections."""
    chances = rows[:, 5:] * rows[:, 4:5]
    classes = chances.argmax(axis=1)
    scores: Floats = np.take_along_axis(chances, classes[:, None], axis=1)[:, 0]
    wanted = scores > question.conf
    if question.classes is not None:
        wanted &= np.isin(classes, question.classes)
    boxes = cell_boxes(rows[:, :4], fit.canvas, wanted)
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
