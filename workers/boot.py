"""Hooks of a worker's main process: messages read safely, kept invisible, children told."""

import logging
from collections.abc import Iterable
from typing import Any

from celery import Celery
from celery.signals import after_setup_logger, celeryd_after_setup, worker_init
from celery.worker import state

from workers.configuration import VISIBILITY_TIMEOUT_S
from workers.envelope import tolerate_rubbish
from workers.lease import VisibilityThread
from workers.routing import engine_of

# Celery pickles its configuration into the children it spawns; this key tells them their engines.
ENGINES_KEY = "pixelmeter_engines"


def connect_main_process(celery: Celery) -> None:
    """Wire the hooks; called once, where the application is composed."""
    tolerate_rubbish()

    def start_lease(**_: object) -> None:
        # Not a bootstep: those stop at the start of a warm shutdown, while tasks still run.
        VisibilityThread(
            celery.connection_for_write,
            lambda: state.reserved_requests,
            interval_s=VISIBILITY_TIMEOUT_S / 4,
        ).start()

    def note_engines(instance: Any, conf: Any, **_: object) -> None:  # noqa: ANN401 - Celery's own
        conf[ENGINES_KEY] = engines_of(instance.app.amqp.queues.consume_from)

    def be_brief(**_: object) -> None:
        # A line per message received and per task done: the tasks' own lines say more.
        for name in ("celery.worker.strategy", "celery.app.trace"):
            logging.getLogger(name).setLevel(logging.WARNING)

    worker_init.connect(start_lease, weak=False)
    after_setup_logger.connect(be_brief, weak=False)
    celeryd_after_setup.connect(note_engines, weak=False)


def engines_of(queues: Iterable[str]) -> list[str]:
    """The engines whose queues are among the given ones."""
    return sorted(engine for queue in queues if (engine := engine_of(queue)) is not None)
