"""The task ``copy_usage``: copies usage lines to ClickHouse, if ``CLICKHOUSE_URL`` names one.

It runs beside the webhooks, whose worker has threads that may wait; nothing of money waits for it.
A server that is away is tried again by the next hint, from where the copy stands.
"""

import logging

from celery import shared_task
from sqlalchemy.exc import OperationalError

from billing.usage_copy import arrived, next_batch
from workers.clickhouse import clickhouse, insert
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)

SINK = "clickhouse"
LINES = 10_000  # of one batch
BATCHES_PER_RUN = 100  # then others of this queue have their turn


def copy(services: Services, *, lines: int = LINES) -> int:
    """Copy what is there; returns how many lines this run sent.

    Raises:
        Exception: whatever the server or the way to it said; what was not sent stays for later.
    """
    url = services.settings.clickhouse_url
    if url is None:
        return 0
    sent = 0
    with clickhouse(url) as client:
        for _ in range(BATCHES_PER_RUN):
            with services.sessions.begin() as session:
                batch = next_batch(session, sink=SINK, limit=lines)
            if batch is None:
                break
            insert(client, batch)
            with services.sessions.begin() as session:
                arrived(session, batch)
            sent += len(batch.lines)
    return sent


def _task() -> None:
    try:
        sent = copy(process_services.get())
    except OperationalError as error:
        log.warning("the copy of usage waits for the database: %s", error)
    except Exception as error:  # noqa: BLE001 - the driver has exceptions of many families
        log.warning("the copy of usage waits for ClickHouse: %s", error)
    else:
        if sent:
            log.info("copied %d usage lines", sent)


copy_usage = shared_task(name=TaskName.COPY_USAGE.value)(_task)
