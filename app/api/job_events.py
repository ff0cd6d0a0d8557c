"""``GET /v1/jobs/{id}/events``: a job's life as Server-Sent Events (WHATWG HTML, section 9.2).

What is told is decided in ``app.jobs.story``; here it is read twice a second and sent. The stream
ends with the final status; a client that asks again after it gets 204, which stops an
``EventSource`` from coming back.
"""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, request
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.api.auth import current_tenant
from app.api.services import Services, services, utc_now
from app.jobs import queries
from app.jobs.record import JobRow
from app.jobs.states import JobStatus
from app.jobs.story import JobEvent, Position, end_of, ending, is_over, news, waiting
from app.jobs.view import job_view

logger = logging.getLogger("pixelmeter.api")

blueprint = APIBlueprint("job_events", __name__, url_prefix="/v1/jobs", tag="Jobs")

LOOK_EVERY_S: Final = 0.5
QUEUE_EVERY_S: Final = 2.0  # counting who goes first costs more than reading a job
QUIET_S: Final = 15.0  # a comment after this long, so that nobody between us hangs up
RETRY_MS: Final = 2000
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx: pass each event on at once
}
STREAM: Final[dict[int | str, Any]] = {
    200: {
        "description": "The events, until the job has ended and is settled",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "`Last-Event-ID` is the job's last event: there is nothing more"},
}


@blueprint.get("/<job_id>/events")
@blueprint.doc(responses=STREAM)
def events(job_id: str) -> Response:
    """Follow a job: `status`, `progress` and `log` events.

    `Last-Event-ID` continues a stream that broke. The last event is the final status with the
    whole job in `job`.
    """
    kit, tenant_id = services(), current_tenant()
    since = Position.parse(request.headers.get("Last-Event-ID"))
    with kit.unit_of_work() as session:
        job = queries.get(session, tenant_id=tenant_id, job_id=job_id)
    if is_over(job) and since >= end_of(job):
        return Response(status=204)
    kit.streams.take(tenant_id)
    listener = Listener(kit, kit.database.engine, job, since=since)
    response = Response(listener.frames(), headers=HEADERS, content_type="text/event-stream")
    response.call_on_close(lambda: kit.streams.give_back(tenant_id))
    return response


class Listener:
    """One client that follows one job."""

    def __init__(self, kit: Services, engine: Engine, job: JobRow, *, since: Position) -> None:
        self._kit = kit
        self._engine = engine
        self._tenant_id: str = job["tenant_id"]
        self._job_id: str = job["id"]
        self._heard = since
        self._queue_due = 0.0
        self._place: int | None = None

    def frames(self) -> Iterator[bytes]:
        """The stream, piece by piece; nothing of the database is held while it sleeps."""
        yield f"retry: {RETRY_MS}\n\n".encode()
        spoke_at = time.monotonic()
        is_last = False
        while not is_last and self._kit.streams.is_serving():
            try:
                found, is_last = self._look()
            except SQLAlchemyError as error:
                logger.warning("the stream of %s ends: %s", self._job_id, error)
                return
            for event in found:
                yield frame(event)
                spoke_at = time.monotonic()
            if time.monotonic() - spoke_at >= QUIET_S:
                yield b": still here\n\n"
                spoke_at = time.monotonic()
            if not is_last:
                time.sleep(LOOK_EVERY_S)

    def _look(self) -> tuple[list[JobEvent], bool]:
        """What is new, and whether it is the end."""
        with Session(self._engine) as session:
            job = queries.get(session, tenant_id=self._tenant_id, job_id=self._job_id)
            attempts = queries.attempts(session, job_id=self._job_id)
            found = news(job, attempts, since=self._heard)
            if job["status"] == JobStatus.QUEUED:
                found += self._queue(session, job)
        if is_over(job):
            view = job_view(job, links=self._kit.links, now=utc_now())
            found.append(ending(job, view))
        self._heard = max([self._heard, *(event.position for event in found)])
        return found, is_over(job)

    def _queue(self, session: Session, job: JobRow) -> list[JobEvent]:
        """Its place in the queue, when that changed."""
        if time.monotonic() < self._queue_due:
            return []
        self._queue_due = time.monotonic() + QUEUE_EVERY_S
        place = queries.queue_position(session, job=job)
        if place is None or place == self._place:
            return []
        self._place = place
        return [waiting(job, place)]


def frame(event: JobEvent) -> bytes:
    """One event on the wire; JSON has no line breaks, so one ``data:`` line is enough."""
    data = json.dumps(event.data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"id: {event.position}\nevent: {event.kind.value}\ndata: {data}\n\n".encode()
