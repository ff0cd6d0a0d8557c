"""The end of a batch: manifest, totals and the one callback, in one transaction.

Whether a batch is over is not counted along the way but asked of its jobs, so that no lost or
repeated step can make the answer wrong. Whoever locks the row of a batch that is over ends it;
everybody else finds it locked or ended.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.batches.manifest import write_csv_manifest, write_json_manifest
from app.batches.models import Batch
from app.batches.queries import Tally, count, list_items, stream_items
from app.batches.view import batch_view, item_facts
from app.files.links import LinkSigner
from app.files.models import File
from app.files.retention import DEFAULT
from app.files.service import output_entry, output_file
from app.secret_box import SecretBox
from app.storage import Storage
from app.webhooks.destinations import signing_secret
from app.webhooks.events import EventType
from app.webhooks.service import record_event
from app.webhooks.signing import sign

# What went wrong is told by index in the callback too, as far as it fits into a webhook.
PROBLEMS_TOLD: Final = 20
DETAIL_LENGTH: Final = 300
PROBLEM_KINDS: Final = ("failed", "expired", "refused", "invalid")

# The newest jobs first: they are settled last, so that the look at a batch that runs is short.
_OVER = text(
    """
    SELECT b.id FROM batch b
     WHERE b.finished_at IS NULL
       AND NOT EXISTS (SELECT FROM batch_item i WHERE i.batch_id = b.id AND i.state = 'waiting')
       AND NOT EXISTS (
           SELECT FROM (SELECT j.settled_at FROM job j
                         WHERE j.batch_id = b.id ORDER BY j.id DESC) newest
            WHERE newest.settled_at IS NULL)
     ORDER BY b.id
    """
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What ending a batch needs in this process."""

    storage: Storage
    links: LinkSigner
    box: SecretBox
    keep: timedelta = DEFAULT.outputs  # manifests


def over(session: Session) -> list[str]:
    """Batches whose every item has come to its end and is settled, but that are not ended."""
    return list(session.scalars(_OVER))


def finish(session: Session, desk: Desk, *, batch_id: str) -> bool:
    """End a batch that is ``over``; False when somebody else is at it or was.

    Commit soon after: should that fail, the manifest's objects have no row and are collected.
    """
    wanted = select(Batch).where(Batch.id == batch_id, Batch.finished_at.is_(None))
    batch = session.scalars(wanted.with_for_update(skip_locked=True)).one_or_none()
    if batch is None:
        return False
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    tally = count(session, [batch_id])[batch_id]
    batch.manifest = _manifest(session, desk, batch, tally, now=now)
    batch.counts, batch.tokens, batch.finished_at = dict(tally.counts), tally.micro_tokens, now
    session.flush()
    record_event(
        session,
        tenant_id=batch.tenant_id,
        event=EventType.BATCH_COMPLETED,
        data={
            **batch_view(batch, tally, links=desk.links, now=now),
            "problems": _problems(session, batch_id),
        },
        at=now,
        job_webhook=batch.webhook,
    )
    return True


def _manifest(
    session: Session, desk: Desk, batch: Batch, tally: Tally, *, now: datetime
) -> dict[str, Any]:
    head = {
        key: value
        for key, value in batch_view(batch, tally, links=desk.links, now=now).items()
        if key in {"id", "total", "counts", "tokens_quoted", "tokens", "retry_of", "created_at"}
    }
    secret = desk.box.decrypt(signing_secret(session, batch.tenant_id, batch.webhook))
    signed_at = int(now.timestamp())
    kept: dict[str, Any] = {"signed_at": signed_at}
    with desk.storage.scratch() as as_json, desk.storage.scratch() as as_csv:
        items = stream_items(session, batch_id=batch.id)
        write_json_manifest(as_json, head=head, items=items, base_url=desk.links.base_url)
        write_csv_manifest(as_csv, items=stream_items(session, batch_id=batch.id))
        for kind, path, media_type in (
            ("json", as_json, "application/json"),
            ("csv", as_csv, "text/csv"),
        ):
            file = _store(session, desk, batch, path, kind=kind, media_type=media_type, now=now)
            signature = sign(secret, batch.id, signed_at, file.sha256)
            kept[kind] = {**output_entry(file), "signature": signature}
            kept["expires_at"] = file.expires_at.astimezone(UTC).isoformat()
    return kept


def _store(
    session: Session,
    desk: Desk,
    batch: Batch,
    path: Path,
    *,
    kind: str,
    media_type: str,
    now: datetime,
) -> File:
    file = output_file(
        desk.storage,
        tenant_id=batch.tenant_id,
        job_id=None,
        path=path,
        name=f"{batch.id}.{kind}",
        media_type=media_type,
        info=None,
        now=now,
        keep=desk.keep,
    )
    session.add(file)
    return file


def _problems(session: Session, batch_id: str) -> list[dict[str, Any]]:
    """The first items that came to nothing, each with its reason."""
    found = [
        row
        for kind in PROBLEM_KINDS
        for row in list_items(session, batch_id=batch_id, limit=PROBLEMS_TOLD, kind=kind)
    ]
    told = sorted((item_facts(row) for row in found), key=lambda facts: int(facts["index"]))
    return [
        {
            "index": facts["index"],
            "job": facts["job"],
            "status": facts["status"],
            "code": facts["error"]["code"],
            "detail": facts["error"]["detail"][:DETAIL_LENGTH],
        }
        for facts in told[:PROBLEMS_TOLD]
        if facts["error"]
    ]
