"""Recharging 10 000 users at once against a loop and against COPY, in the same run and server.

    python tests/bench/bench_bulk.py [--users 10000] [--rounds 3] [--json FILE]

Yardsticks, least first: a loop that commits an addition and an entry per user; the same loop over
our own single grants; the fastest that PostgreSQL can do with such a list (COPY into a table of the
transaction, one UPDATE of the wallets, one INSERT of entries); COPY alone, which books nothing.
Ours twice: the booking alone (COPY in; for each a grant, a journal, its note for the audit chain, a
transfer and the wallet), and the whole recharge as the API calls it, which also finds the users by
name and logs each line before it books. Every round takes fresh
figures of each; the table shows medians. A private PostgreSQL with its shipped settings.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from sqlalchemy import Engine
from sqlalchemy.orm import Session

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.db import open_engine  # noqa: E402 - the tree must be importable first
from app.recharges.order import Order, WantedLine  # noqa: E402
from app.recharges.service import RechargeLimits, place, take_turn  # noqa: E402
from billing.amounts import MicroTokens  # noqa: E402
from billing.grant_batch import BatchRow, book_staged, stage  # noqa: E402
from billing.grants import GrantKind, issue  # noqa: E402
from billing.recharges import RechargeMode  # noqa: E402
from tests.bench.bench_ledger import database, server  # noqa: E402

LOOPED = 500  # users of the loops: their rate does not depend on how many there are
AMOUNT = MicroTokens(5_000_000)
SETUP = """
INSERT INTO tenant (id, name, tenant_group, zone, mode, consent_mode, weight, max_in_flight,
                    webhook_secret)
SELECT 'ten_' || lpad(n::text, 26, '0'), 'user ' || n, 'free', 'UTC', 'prepaid', 'request', 1, 1, ''
  FROM generate_series(1, %(users)s) n;
INSERT INTO billing.wallet (tenant) SELECT id FROM tenant;
CREATE TABLE bulk_wallet (id int PRIMARY KEY, total bigint NOT NULL CHECK (total >= 0))
  WITH (fillfactor = 50);
CREATE TABLE bulk_entry (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, wallet int NOT NULL,
                         kind text NOT NULL, amount bigint NOT NULL,
                         at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON bulk_entry (wallet, id);
INSERT INTO bulk_wallet SELECT n, 0 FROM generate_series(1, %(users)s) n;
CREATE TABLE bulk_list (wallet int, amount bigint);
"""
LIMITS = RechargeLimits(
    alone=MicroTokens(10**15), alone_daily=MicroTokens(10**18), per_minute=10**6
)


@dataclass
class Bench:
    """Where, and how many."""

    dsn: str
    engine: Engine
    users: int
    calls: int = 0

    def mark(self) -> str:
        """A word that was not used before."""
        self.calls += 1
        return f"call {self.calls}"


def bare_loop(bench: Bench) -> float:
    with psycopg.connect(bench.dsn, autocommit=True) as connection:
        began = time.perf_counter()
        for wallet in range(1, LOOPED + 1):
            with connection.transaction():
                connection.execute(
                    "UPDATE bulk_wallet SET total = total + %s WHERE id = %s", (AMOUNT, wallet)
                )
                connection.execute(
                    "INSERT INTO bulk_entry (wallet, kind, amount) VALUES (%s, 'grant', %s)",
                    (wallet, AMOUNT),
                )
        return LOOPED / (time.perf_counter() - began)


def own_loop(bench: Bench) -> float:
    mark, now = bench.mark(), datetime.now(UTC)
    began = time.perf_counter()
    for number in range(1, LOOPED + 1):
        with Session(bench.engine) as session, session.begin():
            issue(
                session,
                tenant=f"ten_{number:026}",
                amount=AMOUNT,
                kind="bulk",
                idem_key=mark,
                actor="bench",
                now=now,
            )
    return LOOPED / (time.perf_counter() - began)


def copy_rows(cursor: psycopg.Cursor, table: str, users: int) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for wallet in range(1, users + 1):
            copy.write_row((wallet, AMOUNT))


def copy_alone(bench: Bench) -> float:
    with psycopg.connect(bench.dsn, autocommit=True) as connection:
        began = time.perf_counter()
        with connection.transaction(), connection.cursor() as cursor:
            copy_rows(cursor, "bulk_list", bench.users)
        return bench.users / (time.perf_counter() - began)


def copy_and_book(bench: Bench) -> float:
    with psycopg.connect(bench.dsn, autocommit=True) as connection:
        began = time.perf_counter()
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE staged (wallet int, amount bigint) ON COMMIT DROP")
            copy_rows(cursor, "staged", bench.users)
            cursor.execute(
                "UPDATE bulk_wallet SET total = total + s.amount FROM staged s WHERE id = s.wallet"
            )
            cursor.execute(
                "INSERT INTO bulk_entry (wallet, kind, amount)"
                " SELECT wallet, 'grant', amount FROM staged"
            )
        return bench.users / (time.perf_counter() - began)


def ours(bench: Bench) -> float:
    lines = [
        WantedLine(row=number, named=f"user {number}", amount=AMOUNT)
        for number in range(1, bench.users + 1)
    ]
    order = Order("json", RechargeMode.PARTIAL, "bench", "bench", bench.mark(), lines)
    began = time.perf_counter()
    with Session(bench.engine) as session, session.begin():
        take_turn(session, maker="bench")
        made = place(
            session, order, maker="bench", actor="bench", limits=LIMITS, now=datetime.now(UTC)
        )
        booked = made.booked
    assert booked == bench.users, booked
    return bench.users / (time.perf_counter() - began)


def grants_alone(bench: Bench) -> float:
    mark, now = bench.mark(), datetime.now(UTC)
    rows = [
        BatchRow(number, f"ten_{number:026}", GrantKind.BULK, AMOUNT, mark, 100, now, None)
        for number in range(1, bench.users + 1)
    ]
    began = time.perf_counter()
    with Session(bench.engine) as session, session.begin():
        stage(session, rows)
        booked = book_staged(session, actor="bench", now=now)
    assert booked == bench.users, booked
    return bench.users / (time.perf_counter() - began)


BOOKED = "ours: grants booked as a batch"
WHOLE = "ours: the whole recharge"
CASES: dict[str, Callable[[Bench], float]] = {
    "loop: add and note, a commit per user": bare_loop,
    "loop: our single grants, a commit each": own_loop,
    "COPY, one UPDATE, one INSERT": copy_and_book,
    "COPY alone, nothing booked": copy_alone,
    BOOKED: grants_alone,
    WHOLE: ours,
}


def measure(bench: Bench, rounds: int) -> list[dict[str, object]]:
    """Every case in turn, round after round; the first round only warms up."""
    rates: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(rounds + 1):
        for name, run in CASES.items():
            rate = run(bench)
            if number:
                rates[name].append(rate)
        with psycopg.connect(bench.dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return [
        {
            "case": name,
            "rows_per_second": round(middle[name]),
            "spread": round((max(values) - min(values)) / middle[name], 2),
            "batch_is_times": round(middle[BOOKED] / middle[name], 2),
            "recharge_is_times": round(middle[WHOLE] / middle[name], 2),
        }
        for name, values in rates.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with server(None) as dsn, database(dsn) as own:
        with psycopg.connect(own, autocommit=True) as connection:
            for statement in SETUP.split(";")[:-1]:
                connection.execute(statement.replace("%(users)s", str(options.users)))
        engine = open_engine(own, pool_size=1)
        rows = measure(Bench(own, engine, options.users), options.rounds)
        engine.dispose()
    print(f"{options.users} users")
    print(f"{'case':40} {'rows/s':>8} {'spread':>7}  batch and recharge are times")
    for row in rows:
        print(
            f"{row['case']:40} {row['rows_per_second']:>8} {row['spread']:>7}"
            f"  {row['batch_is_times']:>8}  {row['recharge_is_times']:>8}"
        )
    text = json.dumps({"bulk": rows})
    print(text)
    if options.json:
        options.json.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
