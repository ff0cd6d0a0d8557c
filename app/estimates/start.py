"""Submitting the jobs of started estimates: the background half of the writer.

One item is one transaction: its row is locked, its job is made, its row says so. Whoever comes
second finds nothing left, so that this may run anywhere, at any time and twice at once. An item
that is refused keeps the reason; the others go on.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session, sessionmaker

from app.catalog.service import Catalog
from app.errors import ProblemError
from app.files.intake import IntakeDesk
from app.jobs.service import submit
from app.jobs.spec import JobRequest
from app.secret_box import SecretBox
from app.tenants.service import Principal
from billing.errors import BillingError

_NEXT: Final = text(
    """
    SELECT i.estimate_id, i.position, i.tokens, i.request, e.tenant_id, e.items,
           k.id AS key_id, k.role, k.project_id, p.name AS project, t.consent_mode,
           coalesce(k.revoked_at <= :now, false) AS is_revoked
      FROM estimate e
      JOIN estimate_item i ON i.estimate_id = e.id
      JOIN tenant t ON t.id = e.tenant_id
      JOIN api_key k ON k.id = e.api_key_id
      LEFT JOIN project p ON p.id = k.project_id
     WHERE e.started_at IS NOT NULL AND e.finished_at IS NULL
       AND i.job_id IS NULL AND i.error_code IS NULL
     ORDER BY e.started_at, i.position LIMIT 1 FOR UPDATE OF i SKIP LOCKED
    """
)
_CLOSE_ITEM: Final = text(
    "UPDATE estimate_item SET job_id = :job, error_code = :code, error_detail = :detail"
    " WHERE estimate_id = :estimate AND position = :position"
)
_FINISH: Final = text(
    """
    UPDATE estimate e SET finished_at = :now
     WHERE e.started_at IS NOT NULL AND e.finished_at IS NULL
       AND NOT EXISTS (SELECT FROM estimate_item i WHERE i.estimate_id = e.id
                        AND i.job_id IS NULL AND i.error_code IS NULL)
    """
)


def submit_started(
    sessions: sessionmaker[Session],
    *,
    catalog: Catalog,
    box: SecretBox,
    desk: IntakeDesk,
    limit: int,
    now: datetime,
) -> int:
    """Submit up to ``limit`` items of started estimates; returns how many were looked at."""
    done = 0
    while done < limit:
        with sessions.begin() as session:
            item = session.execute(_NEXT, {"now": now}).mappings().one_or_none()
            if item is None:
                break
            _close(session, item, catalog=catalog, box=box, desk=desk, now=now)
            done += 1
    with sessions.begin() as session:
        session.execute(_FINISH, {"now": now})
    return done


def _close(
    session: Session,
    item: RowMapping,
    *,
    catalog: Catalog,
    box: SecretBox,
    desk: IntakeDesk,
    now: datetime,
) -> None:
    job = code = detail = None
    if item["is_revoked"]:
        code, detail = "key_revoked", "The key of the estimate was revoked. Estimate it anew."
    else:
        try:
            with session.begin_nested():
                job = _submit(session, item, catalog=catalog, box=box, desk=desk, now=now)
        except (ProblemError, BillingError) as error:
            code, detail = error.code, error.detail
    session.execute(
        _CLOSE_ITEM,
        {
            "job": job,
            "code": code,
            "detail": detail,
            "estimate": item["estimate_id"],
            "position": item["position"],
        },
    )


def _submit(
    session: Session,
    item: RowMapping,
    *,
    catalog: Catalog,
    box: SecretBox,
    desk: IntakeDesk,
    now: datetime,
) -> str:
    """Make the job as its caller would have, at most for what was estimated; returns its id."""
    request = JobRequest.model_validate_json(box.decrypt(item["request"]))
    quota = {"token_quota": Decimal(item["tokens"]).scaleb(-6)}
    caller = Principal(
        tenant_id=item["tenant_id"],
        project_id=item["project_id"],
        key_id=item["key_id"],
        role=item["role"],
        project=item["project"],
        consent_mode=item["consent_mode"],
    )
    with desk.open(session, tenant_id=item["tenant_id"], now=now) as intake:
        made = submit(
            session,
            catalog=catalog,
            box=box,
            intake=intake,
            caller=caller,
            request=request.model_copy(update=quota),
            batch_items=item["items"],
            now=now,
        )
    return str(made.job["id"])
