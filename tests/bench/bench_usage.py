"""Usage reports over a month of a million lines against a plain SQL aggregate of the same rows.

    python tests/bench/bench_usage.py [--dsn postgresql://...] [--rows 1000000] [--json FILE]

The yardstick is the sum of one wallet's month in one statement without buckets or groups, over a
bare psycopg connection. Reports are the first pages of ``GET /v1/usage``: by local day, by day and
engine, by hour and end user (as many groups as lines, nearly). Files with as many rows as lines,
of a week, say how much memory it takes to write them. Cases take turns for three rounds; figures
are medians. Takes a minute.
"""

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from sqlalchemy.orm import Session

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.db import open_engine  # noqa: E402 - the tree must be importable first
from app.local.migrate import migrate  # noqa: E402
from app.reports.files import write_csv, write_parquet  # noqa: E402
from app.reports.usage import columns, usage_views  # noqa: E402
from billing.usage_report import Bucket, Dimension, Question, usage_rows  # noqa: E402
from tests.bench.on_postgres import run  # noqa: E402

ROUNDS = 3
PAGE = 1000
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)

# One tenant with all the rows of the month, and a fifth as many of others between them.
FILL = """
INSERT INTO billing.usage_line (xid, job, wallet, settled_at, project, api_key, end_user, engine,
                                model, device, outcome, cached, charged, gpu_us)
SELECT n, 'job_' || lpad(n::text, 26, '0'), CASE WHEN n %% 6 = 0 THEN 2 ELSE 1 END,
       timestamptz '2026-01-01Z' + interval '31 days' * (n / (%(rows)s * 1.2) * 0.999),
       'prj_' || n %% 5, 'key_' || n %% 9, 'user' || n %% 1000,
       (ARRAY['detect', 'colorize', 'face-swap'])[1 + n %% 3], 'yolov8s@1', 'cuda:0',
       CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'succeeded' END, n %% 20 = 0, n %% 7000000, 1500
  FROM generate_series(1, CAST(%(rows)s * 1.2 AS integer)) n;
"""
PLAIN = """
SELECT count(*), sum(charged), sum(gpu_us) FROM billing.usage_line
 WHERE wallet = 1 AND settled_at >= '2026-01-01Z' AND settled_at < '2026-02-01Z'
"""


def question(bucket: Bucket, *groups: Dimension) -> Question:
    return Question(START, END, "Asia/Shanghai", bucket, groups, tenant="t")


CASES = {
    "by day": question(Bucket.DAY),
    "by day and engine": question(Bucket.DAY, Dimension.ENGINE),
    "by hour and end user": question(Bucket.HOUR, Dimension.END_USER),
}
WIDEST = replace(
    question(Bucket.MINUTE, Dimension.END_USER, Dimension.ENGINE), until=START + timedelta(days=7)
)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(_folder: Path, dsn: str, *, rows: int) -> dict[str, object]:
    migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO billing.wallet (tenant) VALUES ('t'), ('other')")
        connection.execute(FILL, {"rows": rows})
        connection.execute("VACUUM ANALYZE billing.usage_line")
        engine = open_engine(dsn)
        seen: dict[str, list[float]] = {}
        with Session(engine) as session:
            for _ in range(ROUNDS):
                plain = timed(lambda: connection.execute(PLAIN).fetchone())
                seen.setdefault("plain aggregate", []).append(plain)
                for name, asked in CASES.items():
                    found = timed(lambda asked=asked: list(usage_rows(session, asked, limit=PAGE)))
                    seen.setdefault(name, []).append(found)
                session.rollback()
            files = as_files(session)
        engine.dispose()
    medians = {name: round(statistics.median(times), 3) for name, times in seen.items()}
    return {
        "bench": "usage",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": rows,
        "seconds": medians,
        "ratio": {
            name: round(medians["plain aggregate"] / seconds, 3)
            for name, seconds in medians.items()
            if name in CASES
        },
        "files": files,
    }


def as_files(session: Session) -> dict[str, object]:
    """Write the widest report as files; how many rows, how long, how much more memory at most."""
    outcome: dict[str, object] = {}
    for kind, write in (("csv", write_csv), ("parquet", write_parquet)):
        before = peak_mib()
        with tempfile.TemporaryFile() as file:
            began = time.perf_counter()
            views = usage_views(session, WIDEST, usage_rows(session, WIDEST))
            write(file, views, columns=columns(WIDEST))
            seconds, size = time.perf_counter() - began, file.tell()
        outcome[kind] = {
            "seconds": round(seconds, 2),
            "bytes": size,
            "peak_mib_more": round(peak_mib() - before, 1),
        }
        session.rollback()
    return outcome


def show(outcome: dict[str, object]) -> None:
    seconds, ratios, files = outcome["seconds"], outcome["ratio"], outcome["files"]
    assert isinstance(seconds, dict)
    assert isinstance(ratios, dict)
    assert isinstance(files, dict)
    print(f"\n| usage, {outcome['rows']:,} lines of one wallet | s | of the plain aggregate |")
    print("|---|---:|---:|")
    for name, each in seconds.items():
        print(f"| {name} | {each:.3f} | {ratios.get(name, 1.0):.2f} |")
    for kind, facts in files.items():
        print(f"{kind}: {facts['bytes']:,} bytes in {facts['seconds']} s, "
              f"{facts['peak_mib_more']} MiB more at the peak")  # fmt: skip


if __name__ == "__main__":
    run(__doc__, measure=measure, show=show, rows=1_000_000)
