"""Usage as the public sees it: physical facts of the run beside what they cost. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from app.jobs.record import JobRow
from billing.amounts import to_number
from billing.rates import Line
from billing.settlement import Settlement
from engines.spec import UsageReport, Work

_NOTHING: Mapping[str, Any] = {
    "gpu_ms": 0,
    "device": None,
    "runner": None,
    "precision": None,
    "stages_ms": {},
    "wall_ms": 0,
    "cold_start_ms": 0,
    "peak_memory_bytes": 0,
    "provider": None,
    "plan": None,
}


def report_json(report: UsageReport) -> dict[str, Any]:
    """An engine's report as it is kept with the attempt."""
    return {
        "model": report.model,
        "device": report.device,
        "runner": report.runner,
        "provider": report.provider,
        "precision": report.precision,
        "plan": report.plan,
        "gpu_ms": report.gpu_ms,
        "stages_ms": dict(report.stages_ms),
        "wall_ms": report.wall_ms,
        "cold_start_ms": report.cold_start_ms,
        "peak_memory_bytes": report.peak_memory_bytes,
        "device_factor": report.device_factor,
        "work": {
            "quantities": dict(report.work.quantities),
            "attributes": dict(report.work.attributes),
        },
    }


def read_report(kept: Mapping[str, Any]) -> UsageReport:
    """The report that ``report_json`` wrote."""
    work = Work(kept["work"]["quantities"], kept["work"]["attributes"])
    facts = {each.name: kept[each.name] for each in fields(UsageReport) if each.name in kept}
    return UsageReport(**{**facts, "work": work})


def public_usage(
    job: JobRow, *, report: Mapping[str, Any] | None, settlement: Settlement
) -> dict[str, Any]:
    """The ``usage`` of a settled job; times in milliseconds, tokens as JSON numbers.

    A job that ended before it ran has zeros and no device.
    """
    facts = _NOTHING if report is None else report
    return {
        "tokens": to_number(settlement.charged),
        "gpu_ms": _ms(facts["gpu_ms"]),
        "device": facts["device"],
        "runner": facts["runner"],
        "provider": facts["provider"],
        "precision": facts["precision"],
        "plan": facts.get("plan"),  # reports of older workers have none
        "model": job["model"] if report is None else report["model"],
        "queue_ms": _queue_ms(job),
        "cold_start_ms": _ms(facts["cold_start_ms"]),
        "run_ms": _ms(facts["wall_ms"]),
        "peak_memory_bytes": facts["peak_memory_bytes"],
        "stages": {stage: _ms(value) for stage, value in facts["stages_ms"].items()},
        "cached": settlement.cached,
        "cached_embeddings": _cached_embeddings(facts),
        "remaining_tokens": to_number(settlement.available_after),
        "breakdown": breakdown(settlement.lines),
    }


def breakdown(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The rows of a price, in tokens; they sum up to it."""
    return [
        {
            "name": line.name,
            "quantity": line.quantity,
            "unit": line.unit,
            "tokens": line.tokens,
        }
        for line in lines
    ]


def _cached_embeddings(report: Mapping[str, Any]) -> int:
    """Source faces whose embedding was kept from an earlier job; they make a job cheaper."""
    quantities = report["work"]["quantities"] if "work" in report else {}
    return int(quantities.get("cached_embeddings", 0))


def _queue_ms(job: JobRow) -> int:
    created_at: datetime = job["created_at"]
    left_queue_at: datetime = job["started_at"] or job["finished_at"]
    return round((left_queue_at - created_at).total_seconds() * 1000)


def _ms(value: float) -> float:
    return round(value, 3)
