"""What segments measured, added up to what one run would have reported. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from app.jobs.usage import read_report
from engines.spec import UsageReport, Work

# Of a frame, not of a job: the same in every segment, however many there are.
_NOT_ADDED = frozenset({"input_pixels"})


@dataclass(frozen=True, slots=True)
class Measured:
    """The reports of segments that count, in order, and how long those attempts took together."""

    reports: tuple[UsageReport, ...]
    wall_us: int


def measured_of(
    rows: Sequence[Mapping[str, Any]], *, factors: Mapping[str, Fraction] | None = None
) -> Measured:
    """From rows with ``usage_report`` and ``wall_us``.

    Args:
        rows: of segments that count.
        factors: how much slower than the reference each device counts, where several were used:
            all times are then told in the time of the device that computed most, which is the one
            that the price of the whole is normalised by.
    """
    reports = [read_report(row["usage_report"]) for row in rows]
    if not factors or len({report.device for report in reports}) == 1:
        return Measured(tuple(reports), sum(row["wall_us"] for row in rows))
    main = main_device(reports)
    shares = [float(factors[each.device] / factors[main]) for each in reports]
    return Measured(
        tuple(_scaled(*pair, device=main) for pair in zip(reports, shares, strict=True)),
        sum(round(row["wall_us"] * share) for row, share in zip(rows, shares, strict=True)),
    )


def main_device(reports: Sequence[UsageReport]) -> str:
    """The device that computed for the longest time."""
    times: Counter[str] = Counter()
    for report in reports:
        times[report.device] += round(report.gpu_ms * 1000)
    return max(times, key=lambda device: times[device])


def sum_of(reports: Sequence[UsageReport]) -> UsageReport:
    """One report for at least one: times and work add up, memory is that of the largest."""
    stages: dict[str, float] = {}
    for report in reports:
        for stage, ms in report.stages_ms.items():
            stages[stage] = stages.get(stage, 0.0) + ms
    return replace(
        reports[0],
        work=_added([report.work for report in reports]),
        stages_ms=stages,
        wall_ms=sum(report.wall_ms for report in reports),
        cold_start_ms=sum(report.cold_start_ms for report in reports),
        peak_memory_bytes=max(report.peak_memory_bytes for report in reports),
    )


def _added(works: Sequence[Work]) -> Work:
    total: dict[str, float] = {}
    for work in works:
        for name, quantity in work.quantities.items():
            known = total.get(name, 0)
            total[name] = max(known, quantity) if name in _NOT_ADDED else known + quantity
    return Work(total, works[0].attributes)


def _scaled(report: UsageReport, share: float, *, device: str) -> UsageReport:
    stages = {stage: ms * share for stage, ms in report.stages_ms.items()}
    return replace(report, stages_ms=stages, device=device)
