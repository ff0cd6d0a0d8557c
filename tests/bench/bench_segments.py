"""A video in eight segments on two workers against the same video as one run.

    python tests/bench/bench_segments.py [--frames 800] [--rounds 3] [--json FILE]

Starts a platform of its own with two GPU workers. Two engines, each job from submit to settled by
the database's clock, one run and eight segments in turn, the best of each counts:

* stand-in: an engine that waits 15 ms for every frame as for an accelerator and computes nothing.
  Two workers could halve the time; what is missing is the cut, the dispatch of nine more messages,
  reading the video's index in every segment, the stored results and the join;
* colorize: the built-in painter, which keeps all processors busy already as one run: on a machine
  of two the segments can only cost, and this says how much. Frames are 640 x 360, smoothing is
  off: with it each segment would compute a lead-in, a large part of segments as short as these.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.client.client import Client  # noqa: E402 - the tree must be importable first
from engines.media.ffmpeg import find_ffmpeg  # noqa: E402
from tests.workers.segments.cinema import CARD, ENGINES  # noqa: E402

STAND_IN_MS = 15.0
PAINT = {"type": "building", "smoothing": 0}
SEGMENTS, WORKERS = 8, 2
AIM_STAND_IN = 0.8  # of the ideal
WAIT_S = 600.0
_TOOK = (
    "SELECT status, extract(epoch FROM settled_at - created_at)::float FROM job"
    " WHERE id = %s AND settled_at IS NOT NULL"
)


@contextmanager
def platform() -> Iterator[Path]:
    """A whole platform with two GPU workers and the engine of the tests."""
    home = Path(tempfile.mkdtemp(prefix="pmbench-"))
    environment = {
        **os.environ,
        "PIXELMETER_HOME": str(home),
        "PIXELMETER_ENGINES": str(ENGINES),
    }
    pixelmeter = [sys.executable, "-m", "app.cli.main"]
    up = ("up", "--detach", "--port", "0", "--gpu-workers", str(WORKERS))
    try:
        subprocess.run([*pixelmeter, *up], cwd=ROOT, env=environment, check=True)
        yield home
    finally:
        subprocess.run([*pixelmeter, "down"], cwd=ROOT, env=environment, check=False)
        shutil.rmtree(home, ignore_errors=True)


def make_clip(path: Path, *, frames: int, size: str) -> Path:
    """Moving colours at 25 frames per second, a key frame every second."""
    source = f"testsrc2=size={size}:rate=25:duration={frames / 25}"
    encoder = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-keyint_min", "25")
    command = (find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", source, *encoder, "-y", path)
    subprocess.run([str(part) for part in command], check=True)
    return path


class Bench:
    """Submits over HTTP, reads the stamps from the database."""

    def __init__(self, client: Client, database: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._client = client
        self._database = database

    def ratio(self, job: dict[str, Any], clip: Path, *, rounds: int) -> dict[str, float]:
        """Seconds of one run and of eight segments, and how many times as fast those were."""
        target = {"target": {"file": self._client.upload(clip)["id"]}}
        times: dict[int, list[float]] = {1: [], SEGMENTS: []}
        for _ in range(rounds):
            for segments, taken in times.items():
                asked = {**job, "input": target, "segments": segments, "cache": False}
                taken.append(self._took_s(str(self._client.submit(asked)["id"])))
        one, eight = min(times[1]), min(times[SEGMENTS])
        spread = max((max(taken) - min(taken)) / min(taken) for taken in times.values())
        return {
            "one_run_s": round(one, 2),
            "segments_s": round(eight, 2),
            "ratio": round(one / eight, 2),
            "spread": round(spread, 2),
        }

    def _took_s(self, job_id: str) -> float:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            row = self._database.execute(_TOOK, (job_id,)).fetchone()
            if row is not None and row[0] != "succeeded":
                raise SystemExit(f"{job_id} {row[0]}")
            if row is not None:
                return float(row[1])
            time.sleep(0.02)
        raise SystemExit(f"{job_id} is not settled after {WAIT_S:g} s")


def publish_price(dev: dict[str, str]) -> None:
    admin = {"Authorization": f"Bearer {dev['admin_key']}"}
    with httpx.Client(base_url=dev["base_url"], headers=admin, timeout=30) as http:
        http.post("/v1/admin/rate-cards", json=CARD).raise_for_status()
        chosen = {"card": "digest", "engine": "digest"}
        http.post(f"/v1/admin/tenants/{dev['tenant']}/card", json=chosen).raise_for_status()


def measure(home: Path, *, frames: int, rounds: int) -> dict[str, Any]:
    dev = json.loads((home / "dev.json").read_text())
    state = json.loads((home / "state.json").read_text())
    publish_price(dev)
    small = make_clip(home / "small.mp4", frames=frames, size="64x64")
    large = make_clip(home / "large.mp4", frames=max(100, frames // 4), size="640x360")
    digest = {"engine": "digest", "params": {"frame_ms": STAND_IN_MS}}
    colorize = {"engine": "colorize", "model": "builtin", "params": PAINT}
    with (
        Client.connect(dev["base_url"], dev["tenant_key"]) as client,
        psycopg.connect(state["database_url"], autocommit=True) as database,
    ):
        bench = Bench(client, database)
        return {
            "stand-in": bench.ratio(digest, small, rounds=rounds),
            "colorize": bench.ratio(colorize, large, rounds=rounds),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=800, help="of the stand-in's video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the outcome here")
    options = parser.parse_args()
    with platform() as home:
        engines = measure(home, frames=options.frames, rounds=options.rounds)
    ideal = engines["stand-in"]["ratio"] / WORKERS
    outcome = {
        "bench": "segments",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "segments": SEGMENTS,
        "workers": WORKERS,
        "engines": engines,
        "stand_in_of_ideal": round(ideal, 3),
        "aim": AIM_STAND_IN,
    }
    print("| a video in 8 segments on 2 workers | one run s | segments s | times as fast |")
    print("|---|---:|---:|---:|")
    for name, row in engines.items():
        print(f"| {name} | {row['one_run_s']} | {row['segments_s']} | {row['ratio']} |")
    print(f"stand-in: {ideal:.2f} of the ideal (aim {AIM_STAND_IN})")
    print(json.dumps(outcome))
    if options.json is not None:
        options.json.write_text(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
