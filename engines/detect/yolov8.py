"""YOLOv8 as exported to ONNX: one input, one output, boxes already decoded in the graph.

images   [n, 3, height, width]  RGB, 0..1
output0  [n, 4 + classes, anchors]  cx cy w h in canvas pixels, then a probability per class
or       [n, k, 6]  x1 y1 x2 y2 score class, from exports with suppression inside the graph
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.detect.detection import Detection, Floats, Pixels, Question
from engines.detect.labels import COCO, label_of, names_in
from engines.detect.letterbox import Fit, fit_centred, lay_out
from engines.detect.nms import keep_best
from engines.errors import EngineFaultError
from engines.metering import Execution, StageClock
from engines.runners.base import Array, Runner

_END_TO_END_COLUMNS = 6
_PICTURES_RANK, _CHANNELS, _ROWS_RANK = 4, 3, 3


class YoloV8:
    """A detector over a runner that holds a YOLOv8 network."""

    def __init__(self, runner: Runner) -> None:
        check_shapes(runner, family="YOLOv8")
        self._runner = runner
        self._input = runner.inputs[0]
        self.labels = names_in(runner.metadata) or COCO
        self.execution = Execution.of(runner)

    def detect(
        self, frames: Sequence[Pixels], question: Question, clock: StageClock
    ) -> list[list[Detection]]:
        """Detections of each frame; one run for all where the network takes batches."""
        takes_batches = self._input.shape[0] is None
        step = len(frames) if takes_batches else 1
        found: list[list[Detection]] = []
        for start in range(0, len(frames), max(step, 1)):
            found += self._detect_batch(frames[start : start + step], question, clock)
        return found

    def _detect_batch(
        self, frames: Sequence[Pixels], question: Question, clock: StageClock
    ) -> list[list[Detection]]:
        with clock.aside("preprocess"):
            fits = [fit_centred(_size(frame), question.size) for frame in frames]
            feed = self._feed([lay_out(*pair) for pair in zip(frames, fits, strict=True)])
        outputs = self._runner.run({self._input.name: feed})
        clock.add("infer", self._runner.elapsed_ms)
        with clock.aside("postprocess"):
            output = outputs[self._runner.outputs[0].name].astype(np.float32, copy=False)
            return [
                read_rows(rows, fit, question, self.labels)
                for rows, fit in zip(output, fits, strict=True)
            ]

    def _feed(self, canvases: list[Pixels]) -> Array:
        stacked = np.stack(canvases)[..., ::-1].transpose(0, 3, 1, 2)  # BGR rows -> RGB planes
        feed: Array = np.ascontiguousarray(stacked, dtype=np.float32)
        feed /= 255
        return feed.astype(self._input.dtype, copy=False)


def check_shapes(runner: Runner, *, family: str) -> None:
    """Refuse a network that cannot be of a family before its output is misread."""
    pictures, rows = runner.inputs[0].shape, runner.outputs[0].shape
    fits = len(pictures) == _PICTURES_RANK and pictures[1] == _CHANNELS and len(rows) == _ROWS_RANK
    fits = fits and pictures[0] in {None, 1}  # of a fixed batch the last one would not be full
    if len(runner.inputs) != 1 or not fits:
        message = (
            f"these weights are no {family} export: they take {pictures} and give {rows}; "
            "export the model to ONNX again, for one picture or a free batch, and register that"
        )
        raise EngineFaultError(message, code="weights_unreadable")


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


def _size(frame: Pixels) -> tuple[int, int]:
    return (int(frame.shape[0]), int(frame.shape[1]))
