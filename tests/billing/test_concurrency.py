"""Many at once: no wallet is overspent and no job is settled twice."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.db import open_engine
from billing.amounts import from_number
from billing.budgets import caps, set_cap
from billing.caps import EACH, CapReachedError, Scope, SetBy
from billing.errors import InsufficientTokensError
from billing.grants import issue
from billing.holds import place
from billing.ledger import Spender
from billing.reconcile import check
from billing.settlement import settle, settle_many
from billing.usage import unsettled
from billing.wallets import balance, open_wallet
from billing.windows import Period
from tests.billing.till import LATER, NOW, Till

CLIENTS = 12


@pytest.fixture
def crowd(database_url):
    """Sessions for many threads at once."""
    engine = open_engine(database_url, pool_size=CLIENTS)
    yield sessionmaker(engine)
    engine.dispose()


def together(work):
    """Run ``work(n)`` in as many threads as there are clients, all starting at once."""
    gate = Barrier(CLIENTS)

    def client(number):
        gate.wait(10)
        return work(number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(client, range(CLIENTS)))


def test_holds_at_once_never_exceed_the_wallet(till_to_commit, crowd):
    till_to_commit.give(60)
    till_to_commit.give(40, priority=1)
    till_to_commit.session.commit()

    def spend(client: int) -> int:
        placed = 0
        for number in range(4):
            try:
                with crowd.begin() as session:
                    job = f"{client}-{number}"
                    place(
                        session,
                        tenant="t",
                        hold_id=f"hold_{job}",
                        job=job,
                        amount=from_number(30),
                        expires_at=LATER,
                        now=NOW,
                    )
                placed += 1
            except InsufficientTokensError:
                pass
        return placed

    assert sum(together(spend)) == 3
    found = balance(till_to_commit.session, "t")
    assert (found.available, found.held) == (from_number(10), from_number(90))
    till_to_commit.session.rollback()
    assert check(till_to_commit.session) == []


def test_holds_at_once_never_exceed_a_cap(till_to_commit, crowd):
    till = till_to_commit
    till.give(10_000)
    for scope, subject in ((Scope.TENANT, ""), (Scope.END_USER, EACH)):
        set_cap(
            till.session,
            tenant="t",
            set_by=SetBy.OPERATOR,
            scope=scope,
            subject=subject,
            period=Period.DAY,
            zone="UTC",
            limit=from_number(100 if scope is Scope.TENANT else 70),
            now=NOW,
        )
    till.session.commit()

    def spend(client: int) -> int:
        placed = 0
        for number in range(4):
            job = f"{client}-{number}"
            try:
                with crowd.begin() as session:
                    place(
                        session,
                        tenant="t",
                        hold_id=f"hold_{job}",
                        job=job,
                        amount=from_number(30),
                        expires_at=LATER,
                        now=NOW,
                        spender=Spender(end_user="ab"[client % 2]),
                    )
            except CapReachedError:
                continue
            placed += 1
            if number == 1:
                with crowd.begin() as session:
                    till_of_client = Till(session)
                    till_of_client.end(job, "failed", quoted=30)
                    assert settle(session, job=job, now=NOW) is not None
                placed -= 1
        return placed

    assert sum(together(spend)) == 3
    found = {cap.scope: cap for cap in caps(till.session, "t", now=NOW)}
    assert found[Scope.TENANT].reserved == from_number(90)
    assert found[Scope.END_USER].reserved == from_number(60)
    till.session.rollback()
    assert check(till.session) == []


def test_the_same_hold_from_many_is_placed_once(till_to_commit, crowd):
    till_to_commit.give(100)
    till_to_commit.session.commit()

    def submit(client: int) -> bool:
        with crowd.begin() as session:
            return place(
                session,
                tenant="t",
                hold_id="hold_a",
                job="a",
                amount=from_number(30),
                expires_at=LATER,
                now=NOW,
            ).replayed

    assert sorted(together(submit)) == [False] + [True] * (CLIENTS - 1)
    assert balance(till_to_commit.session, "t").held == from_number(30)


def test_the_same_grant_from_many_is_issued_once(till_to_commit, crowd):
    def pay(client: int) -> bool:
        with crowd.begin() as session:
            return issue(
                session,
                tenant="t",
                amount=from_number(5),
                kind="purchase",
                idem_key="order:7",
                actor="shop",
                now=NOW,
            ).created

    assert sum(together(pay)) == 1
    assert balance(till_to_commit.session, "t").available == from_number(5)


def test_many_settlers_charge_each_job_once(till_to_commit, crowd):
    jobs = [f"job{number:02}" for number in range(20)]
    till = till_to_commit
    for tenant in ("u", "v"):
        open_wallet(till.session, tenant)
    for tenant in ("t", "u", "v"):
        till.give(100, tenant=tenant)
    for number, job in enumerate(jobs):
        tenant = "tuv"[number % 3]
        till.hold(job, 3, tenant=tenant)
        till.end(job, tenant=tenant, images=2)
    till.session.commit()

    def race(client: int) -> int:
        settled = 0
        for job in jobs if client % 2 else reversed(jobs):
            with crowd.begin() as session:
                settled += settle(session, job=job, now=NOW) is not None
        return settled

    assert sum(together(race)) == len(jobs)
    assert_each_charged_once(till.session, jobs)


def test_billing_workers_share_the_work_list(till_to_commit, crowd):
    jobs = [f"job{number:02}" for number in range(60)]
    till = till_to_commit
    open_wallet(till.session, "u")
    till.give(100)
    till.give(100, tenant="u")
    for number, job in enumerate(jobs):
        tenant = "tu"[number % 2]
        till.hold(job, 3, tenant=tenant)
        till.end(job, tenant=tenant, images=2)
    till.session.commit()

    def drain(client: int) -> int:
        settled = 0
        while True:
            with crowd.begin() as session:
                batch = unsettled(session, limit=4)
                settled += len(settle_many(session, jobs=batch, now=NOW))
            if not batch:
                return settled

    assert sum(together(drain)) == len(jobs)
    assert_each_charged_once(till.session, jobs)


def assert_each_charged_once(session: Session, jobs: list[str]) -> None:
    charges = text("SELECT job FROM billing.charge WHERE charged = 2000000 ORDER BY job")
    assert list(session.scalars(charges)) == jobs
    assert session.scalar(text("SELECT count(*) FROM billing.settlement_due")) == 0
    session.rollback()
    assert check(session) == []
