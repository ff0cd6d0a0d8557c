"""A job row as the public Job object of ``/v1``. Pure: same row and time, same object."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.files.links import LinkSigner
from app.jobs.comparison import comparison_of
from app.jobs.record import JobRow
from app.timestamps import rfc3339_or_none


def job_view(
    job: JobRow, *, links: LinkSigner, now: datetime, queue_position: int | None = None
) -> dict[str, Any]:
    """Render a job, with links to its outputs that work for 15 minutes.

    ``queue_position`` (1 is next) comes from ``queries.queue_position`` for a single queued job;
    lists leave it null. Outputs past ``expires_at`` have a null ``url``.
    """
    path = f"{links.base_url}/v1/jobs/{job['id']}"
    return {
        "id": job["id"],
        "object": "job",
        "engine": job["engine"],
        "model": job["model"],
        "status": job["status"],
        "priority": job["priority"],
        "created_at": rfc3339_or_none(job["created_at"]),
        "started_at": rfc3339_or_none(job["started_at"]),
        "finished_at": rfc3339_or_none(job["finished_at"]),
        "expires_at": rfc3339_or_none(job["expires_at"]),
        "queue_position": queue_position,
        "progress": {
            "done": job["progress_done"],
            "total": job["progress_total"],
            "unit": job["progress_unit"],
            "fps": job["progress_fps"],
        },
        # The attempt that only cut a video into segments is not told.
        "attempt": max(job["attempt"] - 1, 1) if job["segments"] else job["attempt"],
        "segments": _segments(job),
        "quote": _quote(job["quote"]),
        "usage": job["usage"],
        "output": output_view(job, links=links, now=now),
        "error": job["error"],
        "batch": job["batch_id"],
        "project": job["project"],
        "user": job["end_user"],
        "metadata": job["metadata"],
        "links": {
            "self": path,
            "cancel": f"{path}/cancel",
            "events": f"{path}/events",
            "compare": _comparison(job, links=links, now=now),
        },
    }


def _quote(quote: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: quote[name] for name in ("tokens", "max_tokens", "rate_card")}
    return {**told, "multipliers": quote.get("multipliers", [])}  # older quotes have none


def _segments(job: JobRow) -> dict[str, int] | None:
    if job["segments"] is None:
        return None
    return {"total": job["segments"], "done": job["segments_done"]}


def _comparison(job: JobRow, *, links: LinkSigner, now: datetime) -> str | None:
    if comparison_of(job, now=now) is None:
        return None
    return links.comparison_url(job_id=job["id"], tenant_id=job["tenant_id"], now=now)


def output_view(job: JobRow, *, links: LinkSigner, now: datetime) -> dict[str, Any] | None:
    """What a job gave back, with links to its files; None while there is nothing."""
    output = job["output"]
    if output is None:
        return None
    gone = job["expires_at"] is not None and job["expires_at"] <= now
    files = [
        {
            "id": file["id"],
            "url": None
            if gone
            else links.content_url(file_id=file["id"], tenant_id=job["tenant_id"], now=now),
            "name": file["name"],
            "media_type": file["media_type"],
            "bytes": file["bytes"],
            "sha256": file["sha256"],
        }
        for file in output["files"]
    ]
    return {"files": files, "data": output["data"]}
