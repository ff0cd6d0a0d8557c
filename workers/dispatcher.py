"""Moves committed work onto the broker: ``python -m workers.dispatcher``.

Several may run, one works. Woken by NOTIFY, so nothing waits for a tick; the tick of one second is
for what time alone does (expired leases and deadlines, messages that a broker lost). When the
broker is away work stays in the database; when the database is away everything waits.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.db import open_engine, session_factory
from app.files.links import link_signer
from app.jobs.lifecycle import expire_due, rescue_expired_leases
from app.jobs.segments import end_stopped, rescue_expired
from app.secret_box import open_secret_box
from app.settings import Settings, load_settings
from workers.dispatch.broker import Broker, BrokerDownError, CeleryBroker
from workers.dispatch.hints import hint_deliveries, hint_forgotten_settlement, hint_settlement
from workers.dispatch.leadership import EVERYTHING, Channel, Leader, try_to_lead
from workers.dispatch.progress import ProgressNews
from workers.dispatch.publication import HEADS, dispatch_joins, dispatch_waiting, republish_lost

log = logging.getLogger(__name__)

TICK_S = 1.0


class Dispatcher:
    """The duties of the leader; one turn after another, none of them waits for long."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        broker: Broker,
        progress: ProgressNews,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._broker = broker
        self._progress = progress
        self._clock = clock
        self._ticked_at: float | None = None
        self._is_more_waiting = False

    def turn(self, woken_for: frozenset[Channel]) -> None:
        """Do what the notifications ask for, and once per second what nobody asks for."""
        is_tick = self._ticked_at is None or self._clock() - self._ticked_at >= TICK_S
        if is_tick:
            self._ticked_at = self._clock()
            self._by_time()
        # A slot that was freed matters only to those who wait for one.
        is_slot_wanted = Channel.USAGE in woken_for and self._is_more_waiting
        if is_tick or Channel.JOBS in woken_for or is_slot_wanted:
            self._try(self._dispatch)
            self._try(lambda: dispatch_joins(self._sessions, self._broker))
        if Channel.USAGE in woken_for:
            self._try(lambda: hint_settlement(self._broker))
        if is_tick or Channel.DELIVERIES in woken_for:
            self._try(lambda: hint_deliveries(self._sessions, self._broker))
        if is_tick:
            self._try(lambda: hint_forgotten_settlement(self._sessions, self._broker))
            self._try(lambda: republish_lost(self._sessions, self._broker))

    def _dispatch(self) -> None:
        turn = dispatch_waiting(self._sessions, self._broker)
        while turn.published >= HEADS:  # more slots than one turn looks at
            turn = dispatch_waiting(self._sessions, self._broker)
        self._is_more_waiting = turn.is_more_waiting

    def _by_time(self) -> None:
        with self._sessions.begin() as session:
            rescued = rescue_expired_leases(session)
        for each in rescued:
            log.warning("%s: worker of attempt %d lost; %s", each.job_id, each.attempt, each.status)
        with self._sessions.begin() as session:
            lost = rescue_expired(session)
        for part in lost:
            log.warning("%s/%d: worker of attempt %d lost", part.job_id, part.number, part.attempt)
        with self._sessions.begin() as session:
            for job_id in end_stopped(session):
                log.info("%s: canceled between segments", job_id)
        with self._sessions.begin() as session:
            for job_id in expire_due(session):
                log.info("%s: missed its start deadline", job_id)
        with self._sessions.begin() as session:
            self._progress.announce(session, now=datetime.now(UTC))

    def _try(self, duty: Callable[[], object]) -> None:
        """Leave a duty undone when the broker is away; the outage is logged where it is seen."""
        try:
            duty()
        except BrokerDownError:
            log.debug("the broker is away")


def lead(leader: Leader, dispatcher: Dispatcher, stop: threading.Event) -> None:
    """Work until told to stop or until the leader's connection is gone."""
    woken_for = EVERYTHING
    while not stop.is_set():
        dispatcher.turn(woken_for)
        woken_for = leader.wait(TICK_S)


def run(settings: Settings, stop: threading.Event) -> None:
    """Lead whenever possible until told to stop; an absent database is waited for."""
    database_url = settings.require_database_url()
    # What the dispatcher writes (marks, rescues) is found and written again after a server crash.
    engine = open_engine(database_url, pool_size=2, pre_ping=False, relaxed_commit=True)
    broker = CeleryBroker(settings)
    box = open_secret_box(secret_key=settings.secret_key, home=settings.home)
    progress = ProgressNews(link_signer(base_url=settings.base_url, box=box))
    dispatcher = Dispatcher(session_factory(engine), broker, progress)
    is_away = False
    while not stop.is_set():
        try:
            with try_to_lead(database_url) as leader:
                if leader is not None:
                    log.info("leading")
                    is_away = False
                    lead(leader, dispatcher, stop)
        except (psycopg.OperationalError, OperationalError) as error:
            if not is_away:
                log.warning("the database is away, waiting for it: %s", error)
            is_away = True
        stop.wait(TICK_S)
    broker.close()
    engine.dispose()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(load_settings(), stop)


if __name__ == "__main__":
    main()
