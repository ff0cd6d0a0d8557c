"""The tasks ``sweep``, ``collect_files`` and ``collect_garbage``.

Every promise has somebody who looks for it again.

All are idempotent and may run at any time, twice at once included.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.faces import embeddings
from app.files.collection import collect_expired
from app.files.garbage import SCRATCH_AGE_S, StrangeStorageError, collect_garbage
from app.jobs.lifecycle import expire_due, rescue_expired_leases
from app.jobs.result_cache import forget_old
from app.jobs.segments import end_stopped, rescue_expired
from app.storage import StorageUnavailableError
from app.uploads.collection import collect_expired_uploads
from app.webhooks.service import forget_fleeting
from billing import approvals, grants
from workers import audit, overdue_holds, settle
from workers.own_models import collect_own_weights
from workers.persistence import persist
from workers.routing import TaskName
from workers.segments.cleaning import clean_ended
from workers.services import Services, process_services
from workers.work_folders import clean_work, work_root

log = logging.getLogger(__name__)

RETRY_FOR_S = 5.0  # a pooled connection may have died
FILES_PER_PASS = 500

_FORGET_WORKERS = text(
    "DELETE FROM worker_heartbeat WHERE seen_at < clock_timestamp() - interval '1 day'"
)


def sweep_promises(services: Services) -> None:
    """Do what the dispatcher also does each second, in case there has been none.

    Leases of dead workers, of jobs and of segments, missed start deadlines, usage that nobody
    settled; also grants and approvals whose time is over, holds that outlived their job, what ended
    jobs left of their segments, and journals that wait for the audit chain.
    """
    rescued, expired = persist(lambda: _by_time(services), for_s=RETRY_FOR_S)
    with services.sessions.begin() as session:
        grants.expire_due(session, now=datetime.now(UTC))
        approvals.expire_due(session, now=datetime.now(UTC))
    settled = settle.drain(services)
    overdue_holds.give_back_overdue(services)
    audit.seal_waiting(services)
    clean_ended(services)
    cleaned = clean_work(work_root(services))
    if rescued or expired or settled or cleaned:
        log.info(
            "rescued %d, expired %d, settled %d, removed %d work folders",
            rescued,
            expired,
            settled,
            cleaned,
        )


def _by_time(services: Services) -> tuple[int, int]:
    with services.sessions.begin() as session:
        session.execute(_FORGET_WORKERS)
        forget_old(session, lifetime=services.settings.retention.results)
        forget_fleeting(session)
        embeddings.forget_old(session)
        lost = len(rescue_expired_leases(session)) + len(rescue_expired(session))
        end_stopped(session)
        return lost, len(expire_due(session))


def sweep_files(services: Services) -> int:
    """Delete files and uploads whose time is over, and what dead processes left; how many."""
    removed = _collect_all(services, collect_expired)
    removed += _collect_all(services, collect_expired_uploads)
    with services.sessions() as session:
        removed += collect_own_weights(session, services.settings.home / "models")
    return removed + services.storage.clean_scratch(older_than_s=SCRATCH_AGE_S)


def _collect_all(services: Services, collect: Callable[..., int]) -> int:
    removed = 0
    while True:
        gone = persist(lambda: _collect(services, collect), for_s=RETRY_FOR_S)
        removed += gone
        if gone < FILES_PER_PASS:
            return removed


def _collect(services: Services, collect: Callable[..., int]) -> int:
    with services.sessions.begin() as session:
        return collect(session, services.storage, datetime.now(UTC), limit=FILES_PER_PASS)


def _sweep_task() -> None:
    try:
        sweep_promises(process_services.get())
    except OperationalError as error:
        log.warning("the sweep waits for the database: %s", error)


def _collect_task() -> None:
    try:
        log.info("removed %d files", sweep_files(process_services.get()))
    except (OperationalError, StorageUnavailableError) as error:
        log.warning("file collection waits: %s", error)


def _garbage_task() -> None:
    services = process_services.get()
    try:
        found = collect_garbage(services.sessions, services.storage, now=datetime.now(UTC))
        log.info("garbage: %s", found)
    except StrangeStorageError as error:
        log.error("no garbage is collected: %s", error)  # noqa: TRY400 - the sentence says it all
    except (OperationalError, StorageUnavailableError) as error:
        log.warning("garbage collection waits: %s", error)


sweep = shared_task(name=TaskName.SWEEP.value)(_sweep_task)
collect_garbage_task = shared_task(name=TaskName.COLLECT_GARBAGE.value)(_garbage_task)
collect_files = shared_task(name=TaskName.COLLECT_FILES.value)(_collect_task)
