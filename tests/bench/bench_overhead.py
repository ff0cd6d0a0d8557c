"""What the platform adds to a job: submit to settled, minus the engine's own time.

    python tests/bench/bench_overhead.py --home .pixelmeter [--json FILE]
    python tests/bench/bench_overhead.py --base-url URL --key KEY --dsn postgresql://... [--json F]

Needs a running platform (``pixelmeter up``) with nothing else to do. Two loads, each of tiny
detections of one uploaded picture with the built-in detector, submitted over HTTP:

* one at a time: the next is submitted when the last one is settled;
* a steady rate (20 per second for 10 s), at fixed times, whether earlier ones are done or not.

Included, by the database's clock from ``job.created_at`` to ``job.settled_at``: the commit of the
submit, NOTIFY, the dispatcher's turn, Redis, Celery's way into the child, claim, reading the
inputs, outputs, the finishing transaction, the hint to the billing worker and the settlement's
commit (less its last fsync: the stamp is set inside the transaction).
Excluded: the engine's run as it measured itself (``usage.run_ms``: decoding, inference, drawing),
the HTTP request before the INSERT, and the webhook. Waiting for the one GPU slot is included: at
a steady rate a job may find the slot busy with the one before it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.client.client import Client  # noqa: E402 - the tree must be importable first
from app.local.embedded_postgres import DATABASE, SOCKET_NAME  # noqa: E402
from app.local.layout import Layout, socket_folder  # noqa: E402

AIM_P95_MS = 100.0
SIDE_PX = 128
PARAMS = {"img_size": 64}
WARM_UP = 5
WAIT_S = 60.0

# Milliseconds of each leg; together, without the run, they are the overhead.
_LEGS = """
    SELECT id, status,
        extract(epoch FROM started_at - created_at)::float * 1000 AS queue_ms,
        extract(epoch FROM finished_at - started_at)::float * 1000
            - coalesce((usage ->> 'run_ms')::float, 0) AS around_run_ms,
        extract(epoch FROM settled_at - finished_at)::float * 1000 AS settle_ms,
        (usage ->> 'run_ms')::float AS run_ms,
        extract(epoch FROM settled_at - created_at)::float * 1000
            - coalesce((usage ->> 'run_ms')::float, 0) AS overhead_ms
    FROM job WHERE id = ANY(%s) AND settled_at IS NOT NULL
"""
LEGS = ("overhead_ms", "queue_ms", "around_run_ms", "settle_ms", "run_ms")


def picture(folder: Path) -> Path:
    """A tiny photograph-like picture: smooth, with some texture."""
    import numpy as np
    from PIL import Image

    ramp = np.linspace(0, 255, SIDE_PX)
    pixels = np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=-1)
    noise = np.random.default_rng(7).normal(0, 8, pixels.shape)
    path = folder / "tiny.png"
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path)
    return path


class Bench:
    """Submits over HTTP and reads the stamps from the database."""

    def __init__(self, client: Client, database: psycopg.Connection[dict[str, Any]]) -> None:
        self._client = client
        self._database = database
        self._body: dict[str, Any] = {}

    def prepare(self, folder: Path) -> None:
        file_id = self._client.upload(picture(folder))["id"]
        self._body = {
            "engine": "detect",
            "model": "builtin",
            "input": {"target": {"file": file_id}},
            "params": PARAMS,
            "priority": "interactive",
            "cache": False,  # the same picture again and again
        }
        self.one_at_a_time(WARM_UP)

    def submit(self, _number: int = 0) -> str:
        return str(self._client.submit(self._body)["id"])

    def settled(self, jobs: Sequence[str]) -> list[dict[str, Any]]:
        """Wait for all of them; asks the database, so that waiting loads no API worker."""
        deadline = time.monotonic() + WAIT_S
        while True:
            rows = self._database.execute(_LEGS, (list(jobs),)).fetchall()
            if len(rows) == len(jobs):
                return rows
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(jobs) - len(rows)} of {len(jobs)} jobs are not settled")
            time.sleep(0.01)

    def one_at_a_time(self, count: int) -> list[dict[str, Any]]:
        return [row for _ in range(count) for row in self.settled([self.submit()])]

    def steady(self, *, per_s: float, seconds: float) -> list[dict[str, Any]]:
        started = time.monotonic()
        with ThreadPoolExecutor(max_workers=16) as pool:
            futures = []
            for number in range(round(per_s * seconds)):
                time.sleep(max(0.0, started + number / per_s - time.monotonic()))
                futures.append(pool.submit(self.submit, number))
            jobs = [future.result() for future in futures]
        return self.settled(jobs)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    failed = [row["id"] for row in rows if row["status"] != "succeeded"]
    if failed:
        raise SystemExit(f"{len(failed)} jobs did not succeed, for example {failed[0]}")
    return {
        "jobs": len(rows),
        **{
            leg: {
                "p50": round(percentile([row[leg] for row in rows], 0.50), 2),
                "p95": round(percentile([row[leg] for row in rows], 0.95), 2),
            }
            for leg in LEGS
        },
    }


def show(outcome: dict[str, Any]) -> None:
    print(f"\n| overhead of a job, {outcome['cpus']} CPUs | load | p50 ms | p95 ms |")
    print("|---|---|---:|---:|")
    for load, row in outcome["loads"].items():
        for leg in LEGS:
            print(f"| {leg.removesuffix('_ms')} | {load} | {row[leg]['p50']} | {row[leg]['p95']} |")
    worst = max(row["overhead_ms"]["p95"] for row in outcome["loads"].values())
    print(f"overhead p95 {worst:.1f} ms (aim below {AIM_P95_MS:.0f} ms)")
    print(json.dumps(outcome))


def measure(*, base_url: str, key: str, dsn: str, rate: float, seconds: float) -> dict[str, Any]:
    with (
        Client.connect(base_url, key) as client,
        psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as database,
        tempfile.TemporaryDirectory() as folder,
    ):
        bench = Bench(client, database)
        bench.prepare(Path(folder))
        single = summary(bench.one_at_a_time(30))
        steady = summary(bench.steady(per_s=rate, seconds=seconds))
    return {
        "bench": "overhead",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "loads": {"one at a time": single, f"{rate:g}/s": steady},
        "aim": AIM_P95_MS,
    }


def addresses(options: argparse.Namespace) -> dict[str, str]:
    if options.home is None:
        return {"base_url": options.base_url, "key": options.key, "dsn": options.dsn}
    layout = Layout(options.home.resolve())
    dev = json.loads(layout.dev_file.read_text())
    embedded = (
        f"postgresql://postgres@/{DATABASE}?host={socket_folder(layout.postgres, SOCKET_NAME)}"
    )
    return {
        "base_url": options.base_url or dev["base_url"],
        "key": options.key or dev["tenant_key"],
        "dsn": options.dsn or embedded,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="PIXELMETER_HOME of a running platform")
    parser.add_argument("--base-url")
    parser.add_argument("--key", help="a tenant's API key")
    parser.add_argument("--dsn", help="the platform's database")
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="also write the outcome here")
    options = parser.parse_args()
    if options.home is None and None in {options.base_url, options.key, options.dsn}:
        parser.error("give --home, or all of --base-url, --key and --dsn")
    outcome = measure(**addresses(options), rate=options.rate, seconds=options.seconds)
    show(outcome)
    if options.json is not None:
        options.json.write_text(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
