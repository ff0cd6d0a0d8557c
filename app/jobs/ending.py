"""Every ended job leaves exactly one usage record, in the transaction that ended it.

Billing settles each record once: it captures what the work is worth, nothing for failed and
expired jobs, and releases the rest of the hold. So a hold never outlives its job.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.jobs.record import JobRow
from app.jobs.states import JobStatus
from billing.amounts import MicroTokens
from billing.multipliers import read_multipliers
from billing.rates import Work
from billing.usage import UsageRecord, accept
from engines.spec import UsageReport

_BILLABLE: Final = frozenset({JobStatus.SUCCEEDED.value, JobStatus.CANCELED.value})
_NOTIFY_USAGE = text("SELECT pg_notify('pixelmeter_usage', '')")


def book_usage(
    session: Session,
    *,
    ended: JobRow,
    report: UsageReport | None = None,
    wall_us: int = 0,
    cached: bool = False,
) -> None:
    """Accept the usage record of a job that has just become terminal and wake billing.

    ``wall_us`` is the length of the last attempt by the database's clock; billing bounds the
    measured time by it.
    """
    billable = report is not None and ended["status"] in _BILLABLE
    work = _measured(report) if report and billable else Work({})
    accept(
        session,
        UsageRecord(
            job=ended["id"],
            tenant=ended["tenant_id"],
            attempt=ended["attempt"],
            outcome=ended["status"],
            engine=ended["engine"],
            model=report.model if report else ended["model"],
            device=report.device if report else "",
            work=work,
            gpu_us=round(report.gpu_ms * 1000) if report else 0,
            wall_us=wall_us,
            card_id=ended["quote"]["rate_card"],
            quoted=MicroTokens(ended["quote"]["micro_tokens"]),
            cached=cached,
            multipliers=read_multipliers(ended["quote"].get("multipliers_exact", ())),
            project=ended["project_id"],
            api_key=ended["api_key_id"],
            end_user=ended["end_user"],
        ),
    )
    session.execute(_NOTIFY_USAGE)


def _measured(report: UsageReport) -> Work:
    """The work of a run with its compute times, whole and by stage, in milliseconds."""
    stages = {f"gpu_ms.{stage}": round(ms, 3) for stage, ms in report.stages_ms.items()}
    times = {"gpu_ms": round(report.gpu_ms, 3), **stages}
    return Work({**report.work.quantities, **times}, report.work.attributes)
