"""A shown balance from Redis against the same from SQL, in the same run.

    python tests/bench/bench_balance.py [--dsn postgresql://...] [--reads 200] [--json FILE]

Both are what ``GET /v1/balance`` does below HTTP: one transaction with one statement and the view,
or one HGET and the parsing of what it holds; the wallet has ten grants. Takes turns for nine
rounds, figures are medians. A second figure is the price of a miss: SQL, and keeping the answer.
"""

import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.balance_cache import BalanceCache, balance_view  # noqa: E402 - the tree must be importable
from app.db import open_engine, session_factory  # noqa: E402
from app.local.migrate import migrate  # noqa: E402
from billing.amounts import from_number  # noqa: E402
from billing.grants import issue  # noqa: E402
from billing.wallets import balance, open_wallet  # noqa: E402
from tests.bench.on_postgres import run  # noqa: E402
from tests.workers.redis_server import RedisServer  # noqa: E402

ROUNDS = 9
GRANTS = 10


def per_read_ms(read: Callable[[], object], *, reads: int) -> float:
    began = time.perf_counter()
    for _ in range(reads):
        read()
    return (time.perf_counter() - began) / reads * 1000


def measure(folder: Path, dsn: str, *, reads: int) -> dict[str, object]:
    server = RedisServer(folder)
    server.start()
    try:
        return compare(dsn, server.url, reads=reads)
    finally:
        server.kill()


def compare(dsn: str, redis_url: str, *, reads: int) -> dict[str, object]:
    migrate(dsn)
    engine = open_engine(dsn, pre_ping=False)
    sessions, cache = session_factory(engine), BalanceCache(redis_url, keep_s=3600)
    with sessions.begin() as session:
        open_wallet(session, "t")
        for number in range(GRANTS):
            issue(
                session,
                tenant="t",
                amount=from_number(100),
                kind="grant",
                idem_key=f"give:{number}",
                actor="bench",
                now=datetime.now(UTC),
            )

    def from_sql() -> None:
        with sessions.begin() as session:
            balance_view(balance(session, "t"))

    def missed() -> None:
        with sessions.begin() as session:
            cache.refresh(session, "t")

    def hit() -> None:
        with sessions() as session:
            cache.shown(session, "t")

    cases = {"sql": from_sql, "miss": missed, "hit": hit}
    seen: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, read in cases.items():
            seen[name].append(per_read_ms(read, reads=reads))
    cache.close()
    engine.dispose()
    medians = {name: round(statistics.median(times), 4) for name, times in seen.items()}
    ratios = {name: round(medians["sql"] / medians[name], 2) for name in ("miss", "hit")}
    return {"bench": "balance", "read_ms": medians, "ratio": ratios}


def show(outcome: dict[str, object]) -> None:
    print(f"\na shown balance, in reads a second of those from SQL: {outcome['ratio']}")


if __name__ == "__main__":
    run(__doc__, measure=measure, show=show, reads=200)
