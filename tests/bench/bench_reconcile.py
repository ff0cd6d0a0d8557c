"""Reconciliation of a million transfers against a plain aggregate of the same table.

    python tests/bench/bench_reconcile.py [--transfers 1000000] [--json FILE]

A private PostgreSQL is filled by a few set-based statements with books that are right: wallets,
grants, holds, pins, journals, transfers, usage, charges. Then they are reconciled, ten faults are
planted, and reconciled again: every fault must be found, and nothing else. The yardstick sums all
transfers by wallet, in one sequential scan.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from sqlalchemy.orm import Session

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.db import open_engine  # noqa: E402 - the tree must be importable first
from billing.cards import load_book  # noqa: E402
from billing.rates import Work, evaluate  # noqa: E402
from billing.reconcile import check  # noqa: E402
from billing.settlement import line_json  # noqa: E402
from tests.bench.bench_ledger import database, server  # noqa: E402

WALLETS = 10_000
WORK = Work({"images": 2}, {"media": "image"})

# A job holds 3 tokens, is charged 2 and gets 1 back: three transfers.
BOOKS = """
TRUNCATE billing.wallet, billing.token_grant RESTART IDENTITY CASCADE;
INSERT INTO billing.wallet (id, tenant, available, version) OVERRIDING SYSTEM VALUE
SELECT w, 't' || w, 1000000000000 - 2000000 * c, 1 + 2 * c
  FROM generate_series(1, %(wallets)s) w, LATERAL (
       SELECT (%(jobs)s - w) / %(wallets)s + CASE WHEN w <= %(jobs)s THEN 1 ELSE 0 END AS c) c;
INSERT INTO billing.token_grant (id, wallet, kind, priority, effective_at, granted, remaining,
                                 spent) OVERRIDING SYSTEM VALUE
SELECT id, id, 'grant', 100, '2026-01-01', 1000000000000, available, 1000000000000 - available
  FROM billing.wallet;
INSERT INTO billing.journal (id, wallet, idem_key, fingerprint, kind, ref, occurred_at, actor,
                             available_after) OVERRIDING SYSTEM VALUE
SELECT id, id, 'give', '', 'grant', id::text, '2026-01-01', 'bench', 1000000000000
  FROM billing.wallet;
INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
SELECT id, 1, id, 'promo_issued', 'available', 1000000000000, id FROM billing.wallet;
INSERT INTO billing.hold (id, wallet, job, amount, captured, released, state, placed_at,
                          expires_at, closed_at)
SELECT 'hold_' || n, 1 + (n - 1) %% %(wallets)s, 'job_' || n, 3000000, 2000000, 1000000,
       'captured', '2026-01-02', '2026-02-01', '2026-01-03'
  FROM generate_series(1, %(jobs)s) n;
INSERT INTO billing.hold_grant (hold, seq, token_grant, amount)
SELECT id, 1, wallet, amount FROM billing.hold;
INSERT INTO billing.journal (id, wallet, idem_key, fingerprint, kind, ref, occurred_at, actor,
                             available_after) OVERRIDING SYSTEM VALUE
SELECT %(wallets)s + 2 * n + k.k, 1 + (n - 1) %% %(wallets)s, k.kind || ':job_' || n, '', k.kind,
       'job_' || n, '2026-01-03', 'bench', 0
  FROM generate_series(1, %(jobs)s) n, (VALUES (-1, 'hold'), (0, 'settle')) k (k, kind);
INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
SELECT %(wallets)s + 2 * n + l.k, l.seq, w.w, l.debit, l.credit, l.amount, w.w
  FROM generate_series(1, %(jobs)s) n, LATERAL (SELECT 1 + (n - 1) %% %(wallets)s AS w) w,
       (VALUES (-1, 1, 'available', 'held', 3000000), (0, 1, 'held', 'revenue', 2000000),
               (0, 2, 'held', 'available', 1000000)) l (k, seq, debit, credit, amount);
INSERT INTO billing.usage_record (job, tenant, attempt, outcome, engine, model, device,
    quantities, attributes, gpu_us, wall_us, card, card_version, quoted, cached, quarantined)
SELECT job, 't' || wallet, 1, 'succeeded', 'detect', 'builtin@1', 'cpu', %(quantities)s,
       %(attributes)s, 1000, 2000, 'flat', 1, 3000000, false, false
  FROM billing.hold;
INSERT INTO billing.charge (job, wallet, hold, outcome, cached, status, card, card_version,
    quantities, attributes, lines, multipliers, price, held, charged, released, lapsed, absorbed,
    available_after, settled_at)
SELECT job, wallet, id, 'succeeded', false, 'settled', 'flat', 1, %(quantities)s, %(attributes)s,
       %(lines)s, '[]', 2000000, 3000000, 2000000, 1000000, 0, 0, 0, '2026-01-03'
  FROM billing.hold;
ANALYZE
"""
PLAIN = "SELECT wallet, sum(amount) FROM billing.transfer GROUP BY wallet"
# What is broken: SQL, the code of the finding, its subject.
FAULTS = (
    (
        "UPDATE billing.wallet SET available = available + 1 WHERE id = 11",
        "wallet_differs",
        "wallet 11",
    ),
    ("UPDATE billing.wallet SET held = 5 WHERE id = 12", "wallet_differs", "wallet 12"),
    (
        "UPDATE billing.token_grant SET spent = spent - 1, remaining = remaining + 1 WHERE id = 13",
        "grant_differs",
        "grant 13",
    ),
    (
        "UPDATE billing.hold SET captured = 2000001, released = 999999 WHERE job = 'job_14'",
        "hold_differs",
        "hold hold_14",
    ),
    (
        "UPDATE billing.hold_grant SET amount = amount - 1 WHERE hold = 'hold_15'",
        "hold_pins",
        "hold hold_15",
    ),
    (
        "UPDATE billing.charge SET released = 999999, held = 2999999 WHERE job = 'job_16'",
        "charge_differs",
        "job job_16",
    ),
    ("DELETE FROM billing.charge WHERE job = 'job_17'", "charge_missing", "job job_17"),
    (
        "UPDATE billing.charge SET quantities = '{\"images\": 3}' WHERE job = 'job_18'",
        "charge_recomputes",
        "job job_18",
    ),
    (
        "INSERT INTO billing.transfer VALUES (2000000000, 1, 19, 'goodwill', 'refunds', 1)",
        "transfer_malformed",
        "transfer 2000000000/1",
    ),
    (
        """INSERT INTO billing.hold (id, wallet, job, amount, placed_at, expires_at)
           VALUES ('hold_x', 20, 'job_x', 0, '2026-01-01', '2026-01-02')""",
        "hold_overdue",
        "hold hold_x",
    ),
)


def fill(dsn: str, *, transfers: int) -> None:
    """Write books that are right, past the triggers."""
    engine = open_engine(dsn, pool_size=1)
    with Session(engine) as session:
        card = load_book(session, datetime.now(UTC)).cards["flat@1"]
    engine.dispose()
    lines = [line_json(line) for line in evaluate(card, WORK).lines]
    values = {
        "wallets": WALLETS,
        "jobs": (transfers - WALLETS) // 3,
        "quantities": json.dumps(dict(WORK.quantities)),
        "attributes": json.dumps(dict(WORK.attributes)),
        "lines": json.dumps(lines),
    }
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in BOOKS.split(";"):
            connection.execute(statement, values)


def timed(work: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", help="a server where a database may be created")
    parser.add_argument("--transfers", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with server(options.dsn) as dsn, database(dsn) as own:
        figures = measure(own, transfers=options.transfers)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps({"reconcile": figures}))
    return 0 if figures["faults_found"] == len(FAULTS) and not figures["others"] else 1


def measure(dsn: str, *, transfers: int) -> dict[str, object]:
    filled, _ = timed(lambda: fill(dsn, transfers=transfers))
    engine = open_engine(dsn, pool_size=1)

    def reconcile() -> list[tuple[str, str]]:
        with Session(engine) as session:
            return [(each.code, each.subject) for each in check(session)]

    with psycopg.connect(dsn, autocommit=True) as connection:
        plain = min(timed(lambda: connection.execute(PLAIN).fetchall())[0] for _ in range(3))
        right, found = timed(reconcile)
        assert found == [], found
        connection.execute("SET session_replication_role = replica")
        for damage, _, _ in FAULTS:
            connection.execute(damage)
    wrong, found = timed(reconcile)
    engine.dispose()
    expected = {(code, subject) for _, code, subject in FAULTS}
    assert isinstance(found, list)
    return {
        "transfers": transfers,
        "fill_s": round(filled, 1),
        "plain_aggregate_s": round(plain, 2),
        "reconcile_s": round(right, 1),
        "reconcile_with_faults_s": round(wrong, 1),
        "ratio_to_plain_aggregate": round(right / plain, 1),
        "faults_planted": len(FAULTS),
        "faults_found": len(expected & set(found)),
        "others": sorted(set(found) - expected),
    }


if __name__ == "__main__":
    sys.exit(main())
