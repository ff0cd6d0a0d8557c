"""Compute time of one of several lanes that work side by side."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

from engines.faces.face import Face, FaceDetector, Pixels
from engines.metering import StageClock
from engines.runners.base import Array, Described, Facts, Feeds, Runner


@dataclass(frozen=True, slots=True)
class LaneClock:
    """Adds to a run's clock what one lane measured.

    Things side by side on one thread each take longer; a lane's time counts with its share of the
    threads, so that a frame costs no more in company than alone.
    """

    clock: StageClock
    lanes: int = 1

    def add(self, stage: str, elapsed_ms: float) -> None:
        """Add compute time that the lane measured."""
        self.clock.add(stage, elapsed_ms / self.lanes)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block as compute."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add(name, (perf_counter() - started) * 1000)


class MeteredRunner(Described):
    """A runner whose every run is added to the clock of one run of the engine, under a stage."""

    def __init__(self, runner: Runner, stage: str, clock: LaneClock) -> None:
        self._runner = runner
        self._stage = stage
        self._clock = clock

    @property
    def facts(self) -> Facts:
        """Of the runner."""
        return self._runner.facts

    @property
    def is_closed(self) -> bool:
        """Of the runner."""
        return self._runner.is_closed

    @property
    def device_bytes(self) -> int:
        """Of the runner."""
        return self._runner.device_bytes

    @property
    def stages_ms(self) -> Mapping[str, float]:
        """Of this thread's last run."""
        return self._runner.stages_ms

    @property
    def elapsed_ms(self) -> float:
        """Of this thread's last run."""
        return self._runner.elapsed_ms

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once, and tell the clock."""
        outputs = self._runner.run(feeds)
        self._clock.add(self._stage, self._runner.elapsed_ms)
        return outputs

    def twin(self) -> "MeteredRunner | None":
        """Another one on the same clock, where the device takes several calls at a time."""
        twin = self._runner.twin()
        return None if twin is None else MeteredRunner(twin, self._stage, self._clock)

    def close(self) -> None:
        """Nothing: it belongs to the process."""

    def __enter__(self) -> Self:
        """Give the runner itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing: it belongs to the process."""


@dataclass(frozen=True, slots=True)
class TimedDetector:
    """A detector without a network, whose work is compute all the same."""

    detector: FaceDetector
    clock: LaneClock

    @property
    def name(self) -> str:
        """Of the detector."""
        return self.detector.name

    def detect(self, pixels: Pixels) -> list[Face]:
        """The faces of a BGR picture, best first."""
        [faces] = self.detect_many([pixels])
        return faces

    def detect_many(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """The faces of each picture."""
        with self.clock.stage("detect"):
            return self.detector.detect_many(pictures)
