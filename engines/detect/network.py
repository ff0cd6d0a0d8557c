"""A detector over a runner: what YOLOv8 and YOLOX have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.detect.detection import Detection, Pixels, Question
from engines.detect.detector import Raw, Ready, shared
from engines.detect.head import ContractError
from engines.detect.labels import COCO, names_in
from engines.detect.letterbox import Fit, lay_out
from engines.metering import Execution
from engines.runners.base import Array, Runner

_PICTURES_RANK, _CHANNELS, _ROWS_RANK = 4, 3, 3

Size = tuple[int, int]  # height, width
Read = Callable[[Sequence[Array], Fit, Question, tuple[str, ...]], list[Detection]]


@dataclass(frozen=True, slots=True)
class Family:
    """How the networks of one family are fed and read."""

    name: str
    fit: Callable[[Size, Size], Fit]  # picture, canvas
    feed: Callable[[Pixels], Array]  # canvas [h, w, 3] BGR -> [3, h, w]
    read: Read  # the outputs of one frame as detections


class NetworkDetector:
    """Implements ``Detector`` for one network of a family."""

    def __init__(self, runner: Runner, family: Callable[[Runner], Family]) -> None:
        _check_shapes(runner)
        self._runner = runner
        self._family = family(runner)
        self._input = runner.inputs[0]
        self.labels = names_in(runner.metadata) or COCO
        self.execution = Execution.of(runner)
        self.takes_batches = self._input.shape[0] is None

    def prepare(self, frame: Pixels, size: Size) -> Ready:
        """The frame laid out on the canvas, as the network's numbers."""
        fit = self._family.fit((int(frame.shape[0]), int(frame.shape[1])), size)
        feed = self._family.feed(lay_out(frame, fit))
        return Ready(fit, feed.astype(self._input.dtype, copy=False))

    def infer(self, ready: Sequence[Ready]) -> list[Raw]:
        """Run once; raises ``EngineFaultError`` for frames of different canvases."""
        feeds = [each.feed for each in ready]
        batch = feeds[0][None] if len(feeds) == 1 else np.stack(feeds)
        outputs = self._runner.run({self._input.name: batch})
        arrays = [outputs[spec.name] for spec in self._runner.outputs]
        values = [tuple(array[index] for array in arrays) for index in range(len(feeds))]
        return shared(values, self._runner.elapsed_ms)

    def read(self, raw: Raw, ready: Ready, question: Question) -> list[Detection]:
        """Detections of one frame; raises ``NoNumbersError``."""
        outputs = [array.astype(np.float32, copy=False) for array in raw.values]
        return self._family.read(outputs, ready.fit, question, self.labels)


def _check_shapes(runner: Runner) -> None:
    """Refuse a network that cannot be one for detection before its output is misread."""
    pictures, rows = runner.inputs[0].shape, runner.outputs[0].shape
    fits = len(pictures) == _PICTURES_RANK and pictures[1] == _CHANNELS and len(rows) == _ROWS_RANK
    fits = fits and pictures[0] in {None, 1}  # of a fixed batch the last one would not be full
    if len(runner.inputs) != 1 or not fits:
        raise ContractError(
            f"these weights are no YOLO export for detection, segmentation or pose: they take "
            f"{pictures} and give {rows}; export the model to ONNX again, for one picture or a "
            "free batch, and register that"
        )
