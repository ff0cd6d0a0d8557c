"""What one of many processes does to a wallet; imported by children, so it imports little."""

import random
from collections.abc import Callable
from multiprocessing import get_context

import psycopg

PLACE = (
    "SELECT outcome FROM billing.place_hold('t', %s, %s, 30000000, now() + interval '1 day', now())"
)
OPEN = "SELECT count(*), min(available) FROM billing.hold, billing.wallet WHERE state = 'open'"
DROP = "SELECT billing.void_hold(%s, 'test', NULL, now())"


def hammer(task: tuple[str, int, int]) -> tuple[int, int, int]:
    """Hold 30 of the wallet's 100 tokens again and again; (placed, most open at once, lowest)."""
    dsn, client, rounds = task
    placed, most, lowest = 0, 0, 10**18
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number in range(rounds):
            job = f"job-{client}-{number}"
            outcome = connection.execute(PLACE, (f"hold_{job}", job)).fetchone()
            assert outcome is not None
            if outcome[0] == "insufficient":
                continue
            assert outcome[0] == "placed", outcome
            placed += 1
            seen = connection.execute(OPEN).fetchone()
            assert seen is not None
            most, lowest = max(most, seen[0]), min(lowest, seen[1])
            connection.execute(DROP, (job,))
    return placed, most, lowest


def settle_all(task: tuple[str, int, list[str]]) -> int:
    """Settle the jobs in an order of one's own, one or a few at a time; how many it settled."""
    from sqlalchemy.orm import Session

    from app.db import open_engine
    from billing.settlement import settle_many

    dsn, client, jobs = task
    dice = random.Random(client)
    dice.shuffle(jobs)
    engine = open_engine(dsn, pool_size=1)
    settled = 0
    while jobs:
        size = dice.choice([1, 2, 7])
        some, jobs = jobs[:size], jobs[size:]
        with Session(engine) as session, session.begin():
            settled += len(settle_many(session, jobs=some))
    engine.dispose()
    return settled


def work_for_ever(dsn: str, client: int) -> None:
    """Hold, end, settle and refund until killed."""
    from datetime import UTC, datetime

    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.orm import Session

    from app.db import open_engine
    from billing.refunds import give_back
    from billing.settlement import settle
    from tests.billing.till import Till

    engine = open_engine(dsn, pool_size=1)
    number = 0
    while True:
        number += 1
        job = f"crash-{client}-{number}-{random.random()}"
        try:
            with Session(engine) as session, session.begin():
                Till(session).hold(job, 0.003)
            with Session(engine) as session, session.begin():
                Till(session).end(job, images=0.002, quoted=0.003)
            with Session(engine) as session, session.begin():
                settle(session, job=job)
            with Session(engine) as session, session.begin():
                give_back(
                    session,
                    job=job,
                    amount=None,
                    idem_key="1",
                    reason="",
                    actor="test",
                    now=datetime.now(UTC),
                )
        except SQLAlchemyError:
            engine.dispose()  # the server cut the connection: go on as a worker would


def in_processes(function: Callable, tasks: list) -> list:
    """Run a function of this module in as many processes as there are tasks, all at once."""
    with get_context("spawn").Pool(len(tasks)) as pool:
        return pool.map(function, tasks, chunksize=1)
