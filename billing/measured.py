"""Work with the compute time that it really took: what a card is calibrated on. Reads only."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.rates import Work


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One succeeded job."""

    job: str
    work: Work
    gpu_ms: float  # of the reference device


_RUNS = text(
    """
    SELECT u.job, u.quantities, u.attributes,
           (u.gpu_us * u.device_factor / 1000)::float8 AS gpu_ms
      FROM billing.usage_record u
     WHERE u.card = :card AND u.recorded_at >= :since AND u.outcome = 'succeeded'
       AND NOT u.cached AND NOT u.quarantined AND u.gpu_us > 0
     ORDER BY u.job
    """
)
_CHUNK = 1000


def measured_runs(session: Session, *, card: str, since: datetime) -> Iterator[MeasuredRun]:
    """Runs that versions of a card priced; without cached results and impossible times."""
    rows = session.execute(
        _RUNS, {"card": card, "since": since}, execution_options={"yield_per": _CHUNK}
    ).mappings()
    for row in rows:
        yield MeasuredRun(row["job"], Work(row["quantities"], row["attributes"]), row["gpu_ms"])
