"""The task ``deliver``: sends webhook deliveries that are due, one after another.

A hint without arguments. Each thread of the webhook worker claims one delivery at a time, so a
receiver that hangs holds one thread for at most the total deadline, and two of all threads.
"""

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy.exc import OperationalError

from app.outbound import OutboundRefusedError, post
from app.outbound.exchange import WEBHOOK_LIMITS, Limits
from app.secret_box import SecretError
from app.webhooks.service import AttemptResult, DueDelivery, claim_due, record_attempt
from app.webhooks.signing import headers
from workers.persistence import persist
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)

CLAIM_FOR_S = 5.0  # a pooled connection may have died
CLAIM_S = 60.0  # well over the total deadline of one POST
EXCERPT_CHARACTERS = 1024


def drain(
    services: Services,
    *,
    limits: Limits = WEBHOOK_LIMITS,
    jitter: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 - not a secret
) -> int:
    """Send until nothing is due; returns how many attempts were made."""
    attempts = 0
    while True:
        claimed = persist(lambda: _claim(services), for_s=CLAIM_FOR_S)
        if not claimed:
            return attempts
        for delivery in claimed:
            attempts += 1
            _attempt(services, delivery, limits=limits, jitter=jitter())


def _claim(services: Services) -> list[DueDelivery]:
    with services.relaxed.begin() as session:
        return claim_due(session, limit=1, claim_s=CLAIM_S)


def _attempt(services: Services, delivery: DueDelivery, *, limits: Limits, jitter: float) -> None:
    result = send(services, delivery, limits=limits)

    def record() -> str:
        with services.sessions.begin() as session:
            return record_attempt(
                session, delivery=delivery, result=result, jitter=jitter, now=datetime.now(UTC)
            )

    # Until the claim runs out nobody else sends it; what was sent should be known.
    status = persist(record, for_s=CLAIM_S / 2)
    log.info(
        "%s: attempt %d, %s, %s",
        delivery.id,
        delivery.number,
        result.status_code or result.error,
        status,
    )


def send(services: Services, delivery: DueDelivery, *, limits: Limits) -> AttemptResult:
    """POST once, freshly signed; whatever happens is a result, never an exception."""
    try:
        secret = services.box.decrypt(delivery.secret)
        signed = headers(secret, delivery.id, int(datetime.now(UTC).timestamp()), delivery.body)
        response = post(delivery.url, delivery.body.encode(), signed, services.outbound, limits)
    except (OutboundRefusedError, SecretError) as error:
        return AttemptResult(duration_ms=0, error=str(error))
    return AttemptResult(
        duration_ms=response.duration_ms,
        status_code=response.status,
        response_excerpt=response.body_excerpt[:EXCERPT_CHARACTERS],
        retry_after=response.retry_after,
    )


def _task() -> None:
    try:
        drain(process_services.get())
    except OperationalError as error:
        log.warning("deliveries wait for the database: %s", error)


deliver = shared_task(name=TaskName.DELIVER.value, send_events=False)(_task)
