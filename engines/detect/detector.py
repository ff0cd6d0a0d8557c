"""A loaded model as three stages, so that each can run where it is cheapest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engines.detect.detection import Detection, Pixels, Question
from engines.detect.letterbox import Fit
from engines.metering import Execution, StageClock, share_ms


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """One frame as a model takes it."""

    fit: Fit
    feed: Any  # what ``infer`` of the same family takes


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """What a model said about one frame, and the compute time that took."""

    values: Any  # what ``read`` of the same family takes
    elapsed_ms: float


class Detector(Protocol):
    """One loaded model. ``prepare`` and ``read`` may run on several threads, ``infer`` on one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by id."""

    @property
    def execution(self) -> Execution:
        """Where and how it runs."""

    @property
    def takes_batches(self) -> bool:
        """Whether several frames fit into one run."""

    def prepare(self, frame: Pixels, size: tuple[int, int]) -> Ready:
        """A BGR frame at the inference size, height and width."""

    def infer(self, ready: Sequence[Ready]) -> list[Raw]:
        """Run on one frame, or on several where it takes batches."""

    def read(self, raw: Raw, ready: Ready, question: Question) -> list[Detection]:
        """Detections of a frame, best first, in its own pixels."""


def detect_frames(
    detector: Detector, frames: Sequence[Pixels], question: Question, clock: StageClock
) -> list[list[Detection]]:
    """Detections of each frame, one stage after the other; compute time is added to ``clock``."""
    with clock.aside("preprocess"):
        ready = [detector.prepare(frame, question.size) for frame in frames]
    step = len(ready) if detector.takes_batches else 1
    raws: list[Raw] = []
    for start in range(0, len(ready), max(step, 1)):
        raws += detector.infer(ready[start : start + step])
    for raw in raws:
        clock.add("infer", raw.elapsed_ms)
    with clock.aside("postprocess"):
        return [detector.read(*pair, question) for pair in zip(raws, ready, strict=True)]


def shared(values: Sequence[Any], elapsed_ms: float) -> list[Raw]:
    """What one run said about several frames, its time shared equally."""
    return [Raw(*pair) for pair in zip(values, share_ms(elapsed_ms, len(values)), strict=True)]
