"""Reading segments; nothing here writes."""

from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.jobs import segment_statements as statements
from app.jobs.record import all_rows
from app.jobs.segment_usage import Measured, measured_of
from billing.device_factors import factor_of


def parts(session: Session, *, job_id: str) -> list[Row[Any]]:
    """The rows of a job's segments, in order."""
    return list(session.execute(statements.PARTS, {"job_id": job_id}).all())


def measured(session: Session, *, job_id: str) -> Measured:
    """What a job's segments did so far: done ones, and stopped ones until they stopped."""
    rows = all_rows(session.execute(statements.MEASURED, {"job_id": job_id}))
    devices = {row["usage_report"]["device"] for row in rows}
    factors = {device: factor_of(session, device) for device in devices}
    return measured_of(rows, factors=factors)
