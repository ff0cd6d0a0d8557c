"""The one writer of measured speeds: the newest runs, by kind and device, as percentiles."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from app.speeds.kinds import Kind, sized

RUNS: Final = 5000  # newest runs that are looked at
FORGET_AFTER_DAYS: Final = 30

# By attempts, not jobs: those that wait in the queue are not stepped over. Loading a model is
# left out: it is paid once per worker, not per job. So are videos in segments, whose last attempt
# only joins; what cutting goes by is the compute time of ``app.jobs.speeds``.
_RUNS = text(
    """
    SELECT j.engine, j.model, j.estimated_ms, a.usage_report,
           extract(epoch FROM a.finished_at - a.started_at)::float8 * 1000 AS wall_ms,
           (j.usage ->> 'tokens')::float8 AS charged, (j.quote ->> 'tokens')::float8 AS quoted
      FROM (SELECT * FROM attempt WHERE outcome = 'succeeded' AND usage_report IS NOT NULL
             ORDER BY job_id DESC LIMIT :limit) a
      JOIN job j ON j.id = a.job_id AND j.attempt = a.number
     WHERE j.settled_at IS NOT NULL AND j.tenant_model_id IS NULL AND j.segments IS NULL
       AND NOT (j.usage ->> 'cached')::boolean
    """
)
_KEEP = text(
    """
    INSERT INTO measured_speed AS s (engine, model, media, variant, size_class, length_class,
        device, samples, p50_ms, p90_ms, per_estimated, charged_share)
    VALUES (:engine, :model, :media, :variant, :size_class, :length_class, :device, :samples,
            :p50_ms, :p90_ms, :per_estimated, :charged_share)
    ON CONFLICT (engine, model, media, variant, size_class, length_class, device) DO UPDATE SET
        samples = excluded.samples, p50_ms = excluded.p50_ms, p90_ms = excluded.p90_ms,
        per_estimated = excluded.per_estimated, charged_share = excluded.charged_share,
        measured_at = clock_timestamp()
    """
)
_FORGET = text(
    "DELETE FROM measured_speed"
    " WHERE measured_at < clock_timestamp() - make_interval(days => :days)"
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run that succeeded."""

    kind: Kind
    device: str
    ms_per_unit: float
    per_estimated: float
    charged_share: float


def measure(session: Session) -> int:
    """Rewrite the speeds of every kind that ran lately; returns how many kinds there are.

    Kinds that did not run lately keep what was measured, for ``FORGET_AFTER_DAYS`` days.
    """
    rows = session.execute(_RUNS, {"limit": RUNS}).mappings()
    speeds = percentiles(_run(row) for row in rows)
    if speeds:
        session.execute(_KEEP, speeds)
    session.execute(_FORGET, {"days": FORGET_AFTER_DAYS})
    return len(speeds)


def percentiles(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Rows of the table, one for each kind and device. Pure."""
    alike: dict[tuple[Kind, str], list[Run]] = defaultdict(list)
    for run in runs:
        alike[run.kind, run.device].append(run)
    return [_row(kind, device, same) for (kind, device), same in alike.items()]


def _row(kind: Kind, device: str, runs: list[Run]) -> dict[str, Any]:
    p50, p90 = np.percentile([run.ms_per_unit for run in runs], [50, 90])
    return {
        "engine": kind.engine,
        "model": kind.model,
        "media": kind.media,
        "variant": kind.variant,
        "size_class": kind.size_class,
        "length_class": kind.length_class,
        "device": device,
        "samples": len(runs),
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "per_estimated": float(np.median([run.per_estimated for run in runs])),
        "charged_share": float(np.median([run.charged_share for run in runs])),
    }


def _run(row: RowMapping) -> Run:
    report = row["usage_report"]
    what = sized(
        engine=row["engine"],
        model=row["model"],
        quantities=report["work"]["quantities"],
        attributes=report["work"]["attributes"],
    )
    warm_ms = max(1.0, row["wall_ms"] - report["cold_start_ms"])
    share = row["charged"] / row["quoted"] if row["quoted"] else math.nan
    return Run(
        kind=what.kind,
        device=report["device"],
        ms_per_unit=warm_ms / what.units,
        per_estimated=warm_ms / row["estimated_ms"],
        charged_share=1.0 if math.isnan(share) else share,
    )
