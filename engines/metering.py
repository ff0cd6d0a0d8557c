"""Measure a run: billable compute per stage, other time beside it, memory at its peak."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from time import perf_counter

from engines.gpu_memory import gpu_memory_bytes
from engines.manifest import ModelVersion
from engines.runners.base import Runner
from engines.runners.host import cpu_name
from engines.spec import UsageReport, Work

__all__ = [
    "Execution",
    "StageClock",
    "cpu_name",
    "joined_usage",
    "peak_memory_bytes",
    "share_ms",
    "usage_report",
]

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_SHARE_STEPS = 2**20  # per millisecond


class StageClock:
    """Adds up the time of named stages; safe to use from several threads.

    ``stage`` and ``add`` are compute and billable; ``aside`` is waiting, decoding and encoding,
    which customers see but do not pay for. Making a clock also restarts the peak of memory.
    """

    def __init__(self) -> None:
        _reset_peak_memory()
        self._started = perf_counter()
        self._lock = Lock()
        self._stages_ms: dict[str, float] = {}
        self._asides_ms: dict[str, float] = {}
        self._cold_start_ms = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block as compute."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add(name, (perf_counter() - started) * 1000)

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Measure the block as work around the compute."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add_aside(name, (perf_counter() - started) * 1000)

    def add_aside(self, name: str, elapsed_ms: float) -> None:
        """Add time around the compute that somebody else measured."""
        with self._lock:
            self._asides_ms[name] = self._asides_ms.get(name, 0.0) + elapsed_ms

    def add(self, name: str, elapsed_ms: float) -> None:
        """Add compute time that somebody else measured, e.g. ``runner.elapsed_ms``."""
        with self._lock:
            self._stages_ms[name] = self._stages_ms.get(name, 0.0) + elapsed_ms

    def add_cold_start(self, elapsed_ms: float) -> None:
        """Add the time a load took inside this run."""
        with self._lock:
            self._cold_start_ms += elapsed_ms

    @property
    def stages_ms(self) -> dict[str, float]:
        """Compute per stage so far, milliseconds."""
        with self._lock:
            return dict(self._stages_ms)

    @property
    def asides_ms(self) -> dict[str, float]:
        """Other time per name so far, milliseconds."""
        with self._lock:
            return dict(self._asides_ms)

    @property
    def cold_start_ms(self) -> float:
        """Time of loading inside this run."""
        with self._lock:
            return self._cold_start_ms

    @property
    def wall_ms(self) -> float:
        """Since the clock was made."""
        return (perf_counter() - self._started) * 1000


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and how a network ran."""

    runner: str  # onnxruntime | openvino | tensorrt | tensorrt-rtx | opencv
    provider: str  # CPUExecutionProvider, or opencv
    precision: str  # fp32 | fp16 | bf16 | none
    device: str
    plan: str | None = None  # the TensorRT plan

    @classmethod
    def of(cls, runner: Runner) -> "Execution":
        """As the runner itself says."""
        return cls(
            runner=runner.kind,
            provider=runner.provider,
            precision=runner.precision,
            device=runner.facts.device,
            plan=runner.facts.plan,
        )

    @classmethod
    def opencv(cls) -> "Execution":
        """For algorithms without a network."""
        return cls(runner="opencv", provider="opencv", precision="none", device=cpu_name())


def usage_report(
    clock: StageClock, *, work: Work, model: ModelVersion, execution: Execution
) -> UsageReport:
    """Close the books of a run."""
    return UsageReport(
        work=work,
        model=model.id,
        device=execution.device,
        runner=execution.runner,
        provider=execution.provider,
        precision=execution.precision,
        plan=execution.plan,
        stages_ms=clock.stages_ms,
        wall_ms=clock.wall_ms,
        cold_start_ms=clock.cold_start_ms,
        peak_memory_bytes=peak_memory_bytes(execution.device),
    )


def joined_usage(clock: StageClock, parts: Sequence[UsageReport], work: Work) -> UsageReport:
    """Return the usage of a whole whose parts ran apart, perhaps on different devices.

    Compute adds up in the time of the device of the first part, whose factor is the report's.
    """
    first = parts[0]
    stages_ms: dict[str, float] = {}
    for part in parts:
        for name, elapsed_ms in part.stages_ms.items():
            alike_ms = elapsed_ms * part.device_factor / first.device_factor
            stages_ms[name] = stages_ms.get(name, 0.0) + alike_ms
    return replace(
        first,
        work=work,
        stages_ms=stages_ms,
        wall_ms=sum(part.wall_ms for part in parts) + clock.wall_ms,
        cold_start_ms=sum(part.cold_start_ms for part in parts),
        peak_memory_bytes=max(part.peak_memory_bytes for part in parts),
    )


def share_ms(elapsed_ms: float, parts: int) -> list[float]:
    """Cut a measured time into equal parts that add up to exactly the whole, in any order.

    Every part but the last is a multiple of 2**-20 ms, so that no addition has to round.
    """
    part = math.floor(elapsed_ms / parts * _SHARE_STEPS) / _SHARE_STEPS
    return [*([part] * (parts - 1)), elapsed_ms - part * (parts - 1)]


def peak_memory_bytes(device: str = "cpu") -> int:
    """Memory of this process: on a GPU what it holds there now, by NVML, else its resident peak.

    The resident peak is since the last ``StageClock`` was made. A GPU's allocators keep what they
    once took, so what is held after a run is the peak. Where NVML does not know this process, as in
    some containers, the resident peak is told. 0 where unknown.
    """
    held = gpu_memory_bytes(device)
    if held is not None:
        return held
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text("ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _reset_peak_memory() -> None:
    """Best effort: where the kernel refuses, the peak is that of the whole process."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, "ascii")
    except OSError:
        return
