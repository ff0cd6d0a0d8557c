"""The life of a worker's child process: opened once, warm for every job, seen by the dispatcher."""

import logging
import threading
from collections.abc import Callable

from celery import current_app
from celery.signals import worker_process_init, worker_process_shutdown
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from engines.manifest import ModelVersion
from engines.metering import cpu_name
from workers.boot import ENGINES_KEY
from workers.services import Services, process_services
from workers.warming import begin_warming, pinned_models
from workers.work_folders import clean_work, work_root

log = logging.getLogger(__name__)

HEARTBEAT_EVERY_S = 5.0
WARM_WITHIN_S = 60.0  # then the worker takes jobs, warm or not

_BEAT = text(
    """
    INSERT INTO worker_heartbeat (worker, capacity, engines, device, disk_bytes)
    VALUES (:worker, 1, to_jsonb(CAST(:engines AS varchar[])), :device, :disk_bytes)
    ON CONFLICT (worker) DO UPDATE SET capacity = excluded.capacity, engines = excluded.engines,
        device = excluded.device, disk_bytes = excluded.disk_bytes, seen_at = clock_timestamp()
    """
)
_APPEARED = text("SELECT pg_notify('pixelmeter_jobs', '')")
_GONE = text("DELETE FROM worker_heartbeat WHERE worker = :worker")


class Heartbeat(threading.Thread):
    """Writes the row from which the dispatcher counts this worker as one free slot.

    It lives in the child: a child that is killed or stopped stops beating. ``before`` is what has
    to be done before the worker counts; it never raises.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        *,
        worker: str,
        engines: list[str],
        device: str,
        disk_bytes: int = 0,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._sessions = sessions
        self._row = {
            "worker": worker,
            "engines": engines,
            "device": device,
            "disk_bytes": disk_bytes,
        }
        self._before = before
        self._ended = threading.Event()
        self._is_known = False

    def run(self) -> None:
        """Beat until ended; an absent database is tried again at the next beat."""
        self._before()
        while not self._ended.is_set():
            self.beat()
            if self._ended.wait(HEARTBEAT_EVERY_S):
                return

    def beat(self) -> None:
        """Write the row now; the first one wakes the dispatcher."""
        try:
            with self._sessions.begin() as session:
                session.execute(_BEAT, self._row)
                if not self._is_known:
                    session.execute(_APPEARED)
            self._is_known = True
        except SQLAlchemyError as error:
            if self._is_known:
                log.warning("heartbeat not written, trying again: %s", error)
            self._is_known = False

    def end(self) -> None:
        """Stop beating and free the slot at once, if the database answers."""
        self._ended.set()
        try:
            with self._sessions.begin() as session:
                session.execute(_GONE, {"worker": self._row["worker"]})
        except SQLAlchemyError:
            log.info("heartbeat row left to age")


def warm_up(services: Services, engines: list[str]) -> list[tuple[str, ModelVersion]]:
    """Import and create the engines this worker serves; returns the models still to be loaded."""
    for name in engines:
        services.registry.engine(name)
    pinned = pinned_models(services, engines)
    for name, model in pinned:  # one that is switched away later gives its memory back
        services.retirement.used(name, model.id)
    return pinned


def boot_child(sender: str, **_: object) -> None:
    """Open what the child needs and start to beat; ``sender`` is the worker's node name."""
    # Celery's line per finished task says nothing that the task's own line does not.
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)
    engines: list[str] = list(current_app.conf.get(ENGINES_KEY) or ())
    if not engines:
        return
    services = process_services.get()
    clean_work(work_root(services))  # of a process that this one replaces; no beat sweeps here
    warming = begin_warming(services, warm_up(services, engines))
    heartbeat = Heartbeat(
        services.relaxed,
        worker=sender,
        engines=engines,
        device=cpu_name(),
        disk_bytes=services.node_disk.budget_bytes,
        before=lambda: warming.join(WARM_WITHIN_S),
    )
    heartbeat.start()

    def leave(**_: object) -> None:
        heartbeat.end()

    worker_process_shutdown.connect(leave, weak=False)


worker_process_init.connect(boot_child, weak=False)
