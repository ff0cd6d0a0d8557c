"""Batches and their items as the public objects of ``/v1``. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from app.batches.models import Batch, ItemState
from app.batches.queries import RUNNING, Tally
from app.files.links import LinkSigner
from app.jobs.record import JobRow
from app.jobs.view import output_view
from app.speeds.outlook import NO_FORECAST
from app.timestamps import rfc3339_or_none
from billing.amounts import MicroTokens, to_number

MANIFEST_KINDS: Final = ("json", "csv")


def batch_view(batch: Batch, tally: Tally, *, links: LinkSigner, now: datetime) -> dict[str, Any]:
    """Render a batch; ``tokens`` is what its settled jobs cost so far, in the end the bill."""
    path = f"{links.base_url}/v1/batches/{batch.id}"
    return {
        "id": batch.id,
        "object": "batch",
        "status": status_of(batch, tally),
        "total": batch.total,
        "counts": dict(tally.counts),
        "tokens_quoted": to_number(MicroTokens(batch.tokens_quoted)),
        "tokens": to_number(MicroTokens(tally.micro_tokens)),
        **(batch.forecast or NO_FORECAST),
        "retry_of": batch.retry_of,
        "created_at": rfc3339_or_none(batch.created_at),
        "finished_at": rfc3339_or_none(batch.finished_at),
        "manifest": _manifest(batch, links=links, now=now),
        "links": {
            "self": path,
            "items": f"{path}/items",
            "cancel": f"{path}/cancel",
            "retry": f"{path}/retry",
            "outputs": links.archive_url(batch_id=batch.id, tenant_id=batch.tenant_id, now=now),
        },
    }


def status_of(batch: Batch, tally: Tally) -> str:
    """One word for where a batch stands."""
    if batch.finished_at is not None:
        return "completed" if batch.cancel_requested_at is None else "canceled"
    if batch.cancel_requested_at is not None:
        return "canceling"
    return "accepting" if tally.counts["waiting"] else "running"


def item_view(row: JobRow, *, links: LinkSigner, now: datetime) -> dict[str, Any]:
    """One item with the outputs of its job, as in the job itself."""
    output = None if row["output"] is None else output_view(row, links=links, now=now)
    return {**item_facts(row), "output": output}


def item_facts(row: JobRow) -> dict[str, Any]:
    """What there is to say of an item without any link that expires."""
    usage = row["usage"] or {}
    return {
        "index": row["position"],
        "status": _kind(row),
        "engine": row["engine"],
        "model": row["model"],
        "job": row["job_id"],
        "tokens_quoted": None if row["quoted"] is None else to_number(MicroTokens(row["quoted"])),
        "tokens": usage.get("tokens"),
        "gpu_ms": usage.get("gpu_ms"),
        "error": _error(row),
        "metadata": row["metadata"] or {},
    }


def _kind(row: JobRow) -> str:
    if row["state"] != ItemState.JOB:
        return str(row["state"])
    return "running" if row["status"] in RUNNING else str(row["status"])


def _error(row: JobRow) -> Mapping[str, Any] | None:
    if row["error_code"] is None:
        error: Mapping[str, Any] | None = row["error"]
        return error
    is_refused = row["state"] == ItemState.REFUSED
    return {
        "code": row["error_code"],
        "detail": row["error_detail"] or "",
        "retryable": is_refused,
    }


def _manifest(batch: Batch, *, links: LinkSigner, now: datetime) -> dict[str, Any] | None:
    kept = batch.manifest
    if kept is None:
        return None
    is_gone = datetime.fromisoformat(kept["expires_at"]) <= now
    signed = {
        kind: {
            **{name: kept[kind][name] for name in ("bytes", "sha256", "signature")},
            "file": kept[kind]["id"],
            "url": None
            if is_gone
            else links.content_url(file_id=kept[kind]["id"], tenant_id=batch.tenant_id, now=now),
        }
        for kind in MANIFEST_KINDS
    }
    return {**signed, "signed_at": kept["signed_at"], "expires_at": kept["expires_at"]}
