"""Making the jobs of a batch: a chunk of items is one statement and one transaction.

An item waits with its whole job, the ids of job and hold included. Whoever makes it, the request
that brought the batch or the sweeper after a crash, makes the same job once: the item is locked,
and its hold, its job and its new state commit together.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.errors import PaymentRequiredError
from app.jobs.accept import MAKE_HELD, WAITING_COLUMNS, check_hold
from billing.amounts import MicroTokens
from billing.errors import BillingError
from billing.ledger import HOLDS_SQL

# Holds of one transaction. The wallet is locked until its commit, some 100 ms: a submit of the same
# tenant waits for no longer.
CHUNK: Final = 500

_MAKE = text(
    f"""
    WITH due AS MATERIALIZED (
        SELECT i.position, i.tokens, i.priced FROM batch_item i
         WHERE i.batch_id = :batch_id AND i.state = 'waiting'
         ORDER BY i.position LIMIT :limit FOR UPDATE SKIP LOCKED
    ), asked AS MATERIALIZED (
        SELECT due.position, due.tokens, job.*
          FROM due, jsonb_to_record(due.priced) AS job ({WAITING_COLUMNS})
    ), together AS (
        SELECT min(tenant_id) AS tenant,
               array_agg(hold_id ORDER BY position) AS holds,
               array_agg(id ORDER BY position) AS jobs,
               array_agg(tokens ORDER BY position) AS amounts,
               array_agg(hold_expires_at ORDER BY position) AS expire_at,
               array_agg(project_id ORDER BY position) AS projects,
               array_agg(api_key_id ORDER BY position) AS api_keys,
               array_agg(end_user ORDER BY position) AS end_users
          FROM asked
    ), held AS MATERIALIZED (
        SELECT asked.*, hold.outcome, hold.available, hold.cap
          FROM together t
         CROSS JOIN LATERAL {HOLDS_SQL} hold
          JOIN asked ON asked.id = hold.job
    ), made AS (
        {MAKE_HELD}
    ), closed AS (
        UPDATE batch_item i
           SET state = CASE held.outcome WHEN 'placed' THEN 'job' ELSE 'refused' END,
               job_id = CASE held.outcome WHEN 'placed' THEN held.id END,
               priced = CASE held.outcome WHEN 'placed' THEN NULL ELSE i.priced END
          FROM held WHERE i.batch_id = :batch_id AND i.position = held.position
    )
    SELECT position, tenant_id, id, tokens, outcome, available, cap FROM held ORDER BY position
    """  # noqa: S608 - constants
)
_EXPLAIN = text(
    """
    UPDATE batch_item i SET error_code = told.code, error_detail = told.detail
      FROM unnest(CAST(:positions AS integer[]), CAST(:codes AS varchar[]),
                  CAST(:details AS varchar[])) AS told (position, code, detail)
     WHERE i.batch_id = :batch_id AND i.position = told.position
    """
)


def make_jobs(session: Session, *, batch_id: str, strict: bool = False) -> int:
    """Make the jobs of the next waiting items; returns how many items are done with, 0 at the end.

    An item whose price cannot be held is refused with the reason, the others go on. With
    ``strict`` the first such item is raised instead, as ``app.jobs.accept.accept`` does: roll back.
    Commit soon, and tell the dispatcher afterwards.
    """
    rows = session.execute(_MAKE, {"batch_id": batch_id, "limit": CHUNK}).all()
    refused = [(row.position, found) for row in rows if (found := _refusal(row)) is not None]
    if refused and strict:
        raise refused[0][1]
    if refused:
        _explain(session, batch_id, refused)
    return len(rows)


def _refusal(row: Row[tuple[object, ...]]) -> PaymentRequiredError | BillingError | None:
    try:
        amount = MicroTokens(row.tokens)
        check_hold(row, tenant_id=row.tenant_id, job_id=row.id, amount=amount)
    except (PaymentRequiredError, BillingError) as error:
        return error
    return None


def _explain(
    session: Session,
    batch_id: str,
    refused: Sequence[tuple[int, PaymentRequiredError | BillingError]],
) -> None:
    values = {
        "batch_id": batch_id,
        "positions": [position for position, _ in refused],
        "codes": [error.code for _, error in refused],
        "details": [error.detail for _, error in refused],
    }
    session.execute(_EXPLAIN, values)
