"""A batch of 1 000 items accepted, against as many single submits and against bare writes.

    python tests/bench/bench_batch.py [--items 1000] [--rounds 5] [--json FILE]

All in one run on one PostgreSQL server with its shipped settings (fsync on), one tenant, one
picture. Ours: one `POST /v1/batches` over HTTP (every item read, checked, priced and held, every
job made), and the share of it that is making holds and jobs alone. Yardsticks: `POST /v1/jobs` over
one and over eight keep-alive connections under the same gunicorn; the least that PostgreSQL can do
with as many rows of that size: COPY into a bare table of jobs, and COPY with a bare INSERT of holds
and one UPDATE of a wallet, each in one transaction. Rounds alternate; the figures are medians.
"""

import json
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.batches.opening import make_jobs  # noqa: E402 - the tree must be importable first
from app.db import open_engine, session_factory  # noqa: E402
from tests.bench import stage  # noqa: E402
from tests.bench.bench_accept import drive, gunicorn, http_request  # noqa: E402
from tests.bench.on_postgres import run  # noqa: E402

BARE = """
CREATE TABLE bare_hold (id text PRIMARY KEY, job text NOT NULL UNIQUE, amount bigint NOT NULL);
CREATE TABLE bare_wallet (id int PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0));
CREATE TABLE bare_batch_job (id text PRIMARY KEY, body jsonb NOT NULL, status text NOT NULL);
INSERT INTO bare_wallet VALUES (1, 1000000000000);
"""
# Puts the jobs of a batch back to where they wait, as a crash right after its first step leaves it.
UNMAKE = """
WITH mine AS (SELECT * FROM job WHERE batch_id = %(batch)s)
UPDATE batch_item i SET state = 'waiting', job_id = NULL,
       priced = to_jsonb(m) || jsonb_build_object(
           'id', m.id || %(mark)s, 'hold_id', m.hold_id || %(mark)s, 'start_deadline_s', NULL,
           'hold_expires_at', now() + interval '1 day')
  FROM mine m WHERE i.batch_id = %(batch)s AND i.job_id = m.id
"""


def batch_over_http(port: int, key: str, body: dict[str, object], items: int) -> tuple[float, str]:
    document = json.dumps(
        {"defaults": body, "items": [{"metadata": {"n": n}} for n in range(items)]}
    )
    headers = {**stage.bearer(key), "Content-Type": "application/json"}
    address = f"http://127.0.0.1:{port}/v1/batches"
    began = time.perf_counter()
    asked = urllib.request.Request(address, data=document.encode(), headers=headers)
    with urllib.request.urlopen(asked) as answer:
        made = json.load(answer)
    took = time.perf_counter() - began
    assert made["counts"]["queued"] == items, made
    return items / took, made["id"]


def holds_and_jobs(dsn: str, batch_id: str, items: int) -> float:
    """Make the jobs of a batch that waits; under new names, as the first ones stay."""
    mark = f"-{time.time_ns()}"
    with psycopg.connect(dsn) as connection:
        connection.execute(UNMAKE, {"batch": batch_id, "mark": mark})
    engine = open_engine(dsn, pool_size=1)
    sessions = session_factory(engine)
    began, done = time.perf_counter(), 0
    while True:
        with sessions.begin() as session:
            made = make_jobs(session, batch_id=batch_id)
        done += made
        if not made:
            break
    took = time.perf_counter() - began
    engine.dispose()
    assert done == items
    return items / took


def bare_writes(dsn: str, body: str, items: int, *, books: bool) -> float:
    mark = time.time_ns()
    with psycopg.connect(dsn, autocommit=True) as connection:
        began = time.perf_counter()
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy("COPY bare_batch_job FROM STDIN") as copy:
                for number in range(items):
                    copy.write_row((f"job-{mark}-{number}", body, "queued"))
            if books:
                cursor.execute(
                    "INSERT INTO bare_hold SELECT 'hold-' || id, id, 1000000 FROM bare_batch_job"
                    " WHERE id LIKE %s",
                    (f"job-{mark}-%",),
                )
                cursor.execute("UPDATE bare_wallet SET available = available - %s", (items,))
        return items / (time.perf_counter() - began)


def measure(folder: Path, dsn: str, *, items: int, rounds: int) -> dict[str, object]:
    staged = stage.prepare(dsn, folder, tenants=1)
    key = staged.keys[0]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(BARE)
    env = {"DATABASE_URL": dsn, **staged.environment}
    seen: dict[str, list[float]] = {}
    with gunicorn(
        "app.api.wsgi:build()", env=env, ready_path="/livez", log=folder / "product.log"
    ) as port:
        body = staged.job_body(port, key)
        single = folder / "job"
        single.write_bytes(
            http_request("/v1/jobs", port=port, body=body, headers=stage.bearer(key))
        )
        drive(port, [single], clients=16, seconds=1.0)  # every thread has connected
        row = json.dumps(body)

        def singles(clients: int) -> float:
            return float(str(drive(port, [single], clients=clients, seconds=2.0)["per_s"]))

        for number in range(rounds + 1):
            rate, batch_id = batch_over_http(port, key, body, items)
            parts: dict[str, Callable[[], float]] = {
                "batch, holds and jobs alone": lambda b=batch_id: holds_and_jobs(dsn, b, items),  # type: ignore[misc]
                "singles, 1 connection": lambda: singles(1),
                "singles, 8 connections": lambda: singles(8),
                "COPY": lambda: bare_writes(dsn, row, items, books=False),
                "COPY, holds and a wallet": lambda: bare_writes(dsn, row, items, books=True),
            }
            figures = {"batch": rate, **{name: part() for name, part in parts.items()}}
            for name, figure in figures.items() if number else ():  # the first one warms up
                seen.setdefault(name, []).append(figure)
    rows = {name: round(statistics.median(figures), 1) for name, figures in seen.items()}
    return {
        "bench": "batch",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "items": items,
        "rounds": rounds,
        "items_per_s": rows,
        "ratio": {
            f"batch / {name}": round(rows["batch"] / rate, 3)
            for name, rate in rows.items()
            if name != "batch"
        },
    }


def show(outcome: dict[str, object]) -> None:
    rows, ratios = outcome["items_per_s"], outcome["ratio"]
    assert isinstance(rows, dict)
    assert isinstance(ratios, dict)
    print(f"\n| batch of {outcome['items']}, {outcome['cpus']} CPUs | items/s |")
    print("|---|---:|")
    for name, row in rows.items():
        print(f"| {name} | {row:,.0f} |")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.3f}")


if __name__ == "__main__":
    run(__doc__, measure=measure, show=show, items=1000, rounds=5)
