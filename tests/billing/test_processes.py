"""Many processes at once, killed processes and cut connections: the books stay right."""

import random
import time
from multiprocessing import get_context

import psycopg
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from app.db import open_engine
from billing.amounts import from_number
from billing.debts import repay
from billing.reconcile import check
from billing.refunds import give_back
from billing.settlement import settle, settle_many
from billing.wallets import balance, open_wallet
from tests.billing import mutants
from tests.billing.contenders import hammer, in_processes, settle_all, work_for_ever
from tests.billing.test_concurrency import assert_each_charged_once
from tests.billing.test_debts import postpaid
from tests.billing.till import NOW, Till


@pytest.fixture
def till(till_to_commit: Till) -> Till:
    return till_to_commit


def test_sixteen_processes_never_hold_more_than_the_wallet_has(till, database_url):
    till.give(100)
    till.session.commit()
    seen = in_processes(hammer, [(database_url, client, 25) for client in range(16)])
    assert max(most for _, most, _ in seen) <= 3
    assert min(lowest for _, _, lowest in seen) >= from_number(10)
    assert sum(placed for placed, _, _ in seen) > 16
    found = balance(till.session, "t")
    assert (found.available, found.held) == (from_number(100), 0)
    till.session.rollback()
    assert check(till.session) == []


def test_eight_processes_charge_each_job_once(till, database_url):
    jobs = [f"job{number:03}" for number in range(90)]
    for tenant in ("u", "v"):
        open_wallet(till.session, tenant)
    for tenant in ("t", "u", "v"):
        till.give(100, tenant=tenant)
    for number, job in enumerate(jobs):
        tenant = "tuv"[number % 3]
        till.hold(job, 3, tenant=tenant)
        till.end(job, tenant=tenant, images=2)
    till.session.commit()
    settled = in_processes(settle_all, [(database_url, client, jobs) for client in range(8)])
    assert sum(settled) == len(jobs)
    assert_each_charged_once(till.session, jobs)


def test_killed_clients_and_cut_connections_leave_the_books_right(till, database_url):
    till.give(100)
    till.session.commit()
    dice = random.Random(7)
    context = get_context("spawn")
    with psycopg.connect(database_url, autocommit=True) as watch:
        for _ in range(3):
            crowd = [
                context.Process(target=work_for_ever, args=(database_url, client), daemon=True)
                for client in range(4)
            ]
            for process in crowd:
                process.start()
            wait_for_work(watch)
            for _ in range(10):
                time.sleep(dice.uniform(0.01, 0.06))
                watch.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN ("
                    " SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND query ILIKE '%%billing%%'"
                    " AND backend_start > %s ORDER BY random() LIMIT 1)",
                    (till.session.scalar(text("SELECT now()")),),
                )
                till.session.rollback()
            for process in crowd:
                process.kill()
            for process in crowd:
                process.join(20)
            assert check(till.session) == []
            till.session.rollback()
    done = till.session.scalar(text("SELECT count(*) FROM billing.charge"))
    till.session.rollback()
    assert done > 10


def wait_for_work(watch: psycopg.Connection) -> None:
    """Until the children have settled something more than before."""
    count = "SELECT count(*) FROM billing.charge"
    before = watch.execute(count).fetchone()[0]
    deadline = time.monotonic() + 60
    while watch.execute(count).fetchone()[0] < before + 5:
        assert time.monotonic() < deadline, "the children do not work"
        time.sleep(0.05)


class Program:
    """All that happens to one job, each step its own transaction that can be repeated."""

    def __init__(self, engine: Engine, job: str) -> None:
        self.engine = engine
        self.job = job

    def run(self) -> None:
        for step in (self.hold, self.end, self.settle, self.refund, self.pay):
            with Session(self.engine) as session, session.begin():
                step(session)

    def hold(self, session: Session) -> None:
        Till(session).hold(self.job, 5)

    def end(self, session: Session) -> None:
        Till(session).end(self.job, images=4)

    def settle(self, session: Session) -> None:
        settle(session, job=self.job, now=NOW)

    def refund(self, session: Session) -> None:
        give_back(
            session,
            job=self.job,
            amount=from_number(1),
            idem_key="1",
            reason="",
            actor="test",
            now=NOW,
        )

    def pay(self, session: Session) -> None:
        repay(
            session,
            tenant="t",
            amount=from_number(1),
            idem_key=f"pay:{self.job}",
            actor="test",
            now=NOW,
        )


def test_a_connection_cut_after_any_statement_is_repeated_to_the_same_books(till, database_url):
    till.give(2)
    postpaid(till, 500)
    till.session.commit()
    engine = open_engine(database_url, pool_size=1)
    left = 0  # statements until the cut

    @event.listens_for(engine, "after_cursor_execute")
    def cut(connection, *_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            with psycopg.connect(database_url, autocommit=True) as other:
                pid = connection.connection.driver_connection.info.backend_pid
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    cuts = 0
    for position in range(1, 100):
        program = Program(engine, f"job{position:03}")
        left = position
        try:
            program.run()
        except DBAPIError:
            cuts += 1
            engine.dispose()
            assert check(till.session) == []
            till.session.rollback()
            left = 0
            program.run()
        if left > 0:
            break
    engine.dispose()
    jobs = cuts + 1
    assert cuts > 12
    assert check(till.session) == []
    till.session.rollback()
    counted = "SELECT count(*), sum(charged) FROM billing.charge"
    assert tuple(till.session.execute(text(counted)).one()) == (jobs, from_number(4 * jobs))
    refunds = till.session.execute(text("SELECT count(*) FROM billing.refund")).scalar_one()
    paid = text("SELECT count(*) FROM billing.journal WHERE kind = 'repay'")
    assert (refunds, till.session.scalar(paid)) == (jobs, jobs)


def cross(engine: Engine) -> None:
    """One transaction locks wallet t, then u, while a fold settles jobs of both."""
    from concurrent.futures import ThreadPoolExecutor

    with Session(engine) as session, session.begin():
        open_wallet(session, "u")
        till = Till(session)
        for tenant in "tu":
            till.give(50, tenant=tenant)
            till.hold(f"fold-{tenant}", 3, tenant=tenant)
            till.end(f"fold-{tenant}", tenant=tenant, images=1)

    def fold() -> None:
        with Session(engine) as session, session.begin():
            settle_many(session, jobs=["fold-t", "fold-u"], now=NOW)

    with ThreadPoolExecutor(1) as pool:
        with Session(engine) as session, session.begin():
            till = Till(session)
            till.hold("first", 1, tenant="t")
            folding = pool.submit(fold)
            time.sleep(0.5)
            till.hold("second", 1, tenant="u")
        folding.result(20)


def test_wallets_are_locked_in_one_order(till, engine):
    cross(engine)
    assert check(till.session) == []


def test_a_swapped_order_of_locks_is_noticed(till, engine):
    till.session.commit()
    with mutants.planted(engine, mutants.LOCK_ORDER_SWAPPED), pytest.raises(
        OperationalError, match="deadlock detected"
    ):  # fmt: skip
        cross(engine)
