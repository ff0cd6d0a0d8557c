"""Reading batches and their items; nothing here writes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.batches.models import Batch
from app.errors import NotFoundError
from app.jobs.record import JobRow, all_rows

STREAM_ROWS: Final = 500
RUNNING: Final = ("starting", "processing", "finalizing")
# What a count may be of, in the order of an item's life.
KINDS: Final = (
    "waiting", "queued", "running", "succeeded", "failed", "canceled", "expired", "refused",
    "invalid",
)  # fmt: skip

_COUNTS = text(
    """
    SELECT batch_id, kind, sum(n)::integer AS n, sum(micro)::bigint AS micro FROM (
        SELECT j.batch_id, CASE WHEN j.status IN ('starting', 'processing', 'finalizing')
                                THEN 'running' ELSE j.status END AS kind, count(*) AS n,
               coalesce(sum(CAST(j.usage ->> 'tokens' AS numeric) * 1000000), 0) AS micro
          FROM job j WHERE j.batch_id = ANY(:batch_ids) GROUP BY 1, 2
        UNION ALL
        SELECT i.batch_id, i.state, count(*), 0 FROM batch_item i
         WHERE i.batch_id = ANY(:batch_ids) AND i.state <> 'job' GROUP BY 1, 2
    ) AS counted GROUP BY 1, 2
    """
)
_ITEM = """
    SELECT i.position, i.state, i.engine, i.model, i.tokens AS quoted, i.job_id, i.error_code,
           i.error_detail, i.priced, j.status, j.usage, j.output, j.error, j.expires_at,
           j.tenant_id, j.metadata, j.inputs, j.settled_at
      FROM batch_item i LEFT JOIN job j ON j.id = i.job_id
     WHERE i.batch_id = :batch_id
"""
_KIND = """
    CASE WHEN i.state <> 'job' THEN i.state
         WHEN j.status IN ('starting', 'processing', 'finalizing') THEN 'running'
         ELSE j.status END
"""
_OUTPUTS = text(
    """
    SELECT i.position, f.storage_key, f.name, f.bytes
      FROM batch_item i JOIN job j ON j.id = i.job_id
      CROSS JOIN LATERAL jsonb_array_elements(j.output -> 'files') WITH ORDINALITY AS o (file, nr)
      JOIN file f ON f.id = o.file ->> 'id'
     WHERE i.batch_id = :batch_id AND f.expires_at > :now
     ORDER BY i.position, o.nr
    """
)

_INTERRUPTED = text(
    "SELECT id FROM batch WHERE finished_at IS NULL AND EXISTS (SELECT FROM batch_item i"
    " WHERE i.batch_id = batch.id AND i.state = 'waiting') ORDER BY id"
)
_CANCELING = text(
    "SELECT id FROM batch WHERE finished_at IS NULL AND cancel_requested_at IS NOT NULL ORDER BY id"
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many items of a batch stand where, and what the settled ones cost together."""

    counts: Mapping[str, int]  # by ``KINDS``, all of them
    micro_tokens: int


@dataclass(frozen=True, slots=True)
class Output:
    """A file that an item of a batch produced."""

    position: int
    storage_key: str
    name: str
    bytes: int


def get(session: Session, *, tenant_id: str, batch_id: str) -> Batch:
    """One batch of a tenant; unknown and foreign ids are the same ``NotFoundError``."""
    wanted = select(Batch).where(Batch.id == batch_id, Batch.tenant_id == tenant_id)
    found = session.scalars(wanted, execution_options={"populate_existing": True}).one_or_none()
    if found is None:
        raise NotFoundError("There is no such batch.", code="batch_not_found")
    return found


def find(session: Session, *, batch_id: str) -> Batch | None:
    """A batch whoever owns it: only for a signed link, whose signature names the tenant."""
    return session.get(Batch, batch_id)


def list_batches(
    session: Session, *, tenant_id: str, limit: int, after: str | None = None
) -> list[Batch]:
    """A tenant's batches, newest first; ``after`` is the last id of the page before."""
    wanted = select(Batch).where(Batch.tenant_id == tenant_id)
    if after is not None:
        wanted = wanted.where(Batch.id < after)
    return list(session.scalars(wanted.order_by(Batch.id.desc()).limit(limit)))


def tallies(session: Session, batches: Sequence[Batch]) -> dict[str, Tally]:
    """Where the items of batches stand, by batch; a finished one has it in its row."""
    found: dict[str, Tally] = {}
    open_ids = []
    for batch in batches:
        if batch.counts is None or batch.tokens is None:
            open_ids.append(batch.id)
        else:
            found[batch.id] = Tally(batch.counts, batch.tokens)
    return found | (count(session, open_ids) if open_ids else {})


def count(session: Session, batch_ids: Sequence[str]) -> dict[str, Tally]:
    """Count the items as they stand now."""
    counts = {batch_id: dict.fromkeys(KINDS, 0) for batch_id in batch_ids}
    micro = dict.fromkeys(batch_ids, 0)
    for row in session.execute(_COUNTS, {"batch_ids": list(batch_ids)}):
        counts[row.batch_id][row.kind] = row.n
        micro[row.batch_id] += row.micro
    return {batch_id: Tally(counts[batch_id], micro[batch_id]) for batch_id in batch_ids}


def interrupted(session: Session) -> list[str]:
    """Batches with items whose jobs are not made yet."""
    return list(session.scalars(_INTERRUPTED))


def canceling(session: Session) -> list[str]:
    """Batches that are to stop and have not ended."""
    return list(session.scalars(_CANCELING))


def list_items(
    session: Session,
    *,
    batch_id: str,
    limit: int,
    after: int | None = None,
    kind: str | None = None,
) -> Sequence[JobRow]:
    """Items with what their jobs say, by position; ``kind`` is one of ``KINDS``."""
    sql, values = _ITEM, {"batch_id": batch_id, "limit": limit, "after": after, "kind": kind}
    if after is not None:
        sql += " AND i.position > :after"
    if kind is not None:
        sql += f" AND {_KIND} = :kind"
    rows = session.execute(text(f"{sql} ORDER BY i.position LIMIT :limit"), values)
    return all_rows(rows)


def stream_items(session: Session, *, batch_id: str) -> Iterator[JobRow]:
    """Every item, by position, never more than ``STREAM_ROWS`` of them in memory."""
    rows = session.execute(
        text(f"{_ITEM} ORDER BY i.position"),
        {"batch_id": batch_id},
        execution_options={"yield_per": STREAM_ROWS},
    )
    return (row._asdict() for row in rows)


def outputs(session: Session, *, batch_id: str, now: datetime) -> list[Output]:
    """The files that a batch produced and that still exist, by position."""
    rows: Any = session.execute(_OUTPUTS, {"batch_id": batch_id, "now": now}).mappings()
    return [Output(**row) for row in rows]
