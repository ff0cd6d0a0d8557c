"""Every benchmark, one after another: ``make bench``.

    python tests/bench/run.py [--only accept,bulk,...] [--out bench-output]

Each figure is a ratio against a named baseline of the same run on the same machine, or a latency
with what it includes said beside it. The JSON of each part is kept in ``--out``, with a line on how
busy and how steady the machine was. Run nothing else beside it.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "tests" / "bench"
SCRIPTS = {  # in this order
    "accept": "bench_accept.py",
    "batch": "bench_batch.py",
    "overhead": "bench_overhead.py",
    "video": "bench_video.py",
    "video_memory": "bench_video_memory.py",
    "segments": "bench_segments.py",
    "ledger": "bench_ledger.py",
    "reconcile": "bench_reconcile.py",
    "usage": "bench_usage.py",
    "balance": "bench_balance.py",
    "bulk": "bench_bulk.py",
    "platform": "bench_platform.py",
    "platform-colorize": "bench_platform.py",
    "detect": "bench_detect.py",
    "colorize": "bench_colorize.py",
    "faces": "bench_faces.py",
}
# need a whole one to themselves
ON_PLATFORM = frozenset({"overhead", "platform", "platform-colorize"})
ARGUMENTS = {"platform-colorize": ("--engine", "colorize")}
PARTS = tuple(SCRIPTS)


def cpu_task_ms() -> float:
    """A fixed amount of arithmetic; its spread over the run says how steady the machine is."""
    began = time.perf_counter()
    sum(number * number for number in range(400_000))
    return (time.perf_counter() - began) * 1000


def noise() -> dict[str, float]:
    """How long the fixed task takes now, and how much that varies."""
    times = [cpu_task_ms() for _ in range(15)]
    middle = statistics.median(times)
    return {
        "cpu_task_ms": round(middle, 2),
        "spread": round((max(times) - min(times)) / middle, 3),
        "load_1m": round(os.getloadavg()[0], 2),
    }


@contextlib.contextmanager
def running_platform() -> Iterator[Path]:
    """A whole platform in a home of its own, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="pmbench-"))
    environment = {**os.environ, "PIXELMETER_HOME": str(home)}
    pixelmeter = [sys.executable, "-m", "app.cli.main"]
    try:
        up = [*pixelmeter, "up", "--detach", "--port", "0", "--comfyui-port", "0"]
        subprocess.run(up, cwd=ROOT, env=environment, check=True)
        yield home
    finally:
        subprocess.run([*pixelmeter, "down"], cwd=ROOT, env=environment, check=False)
        shutil.rmtree(home, ignore_errors=True)


def run_part(name: str, script: str, *arguments: str, out: Path) -> bool:
    """Run one script in its own process, its figures on this terminal and in ``out``."""
    print(f"\n== {name} ==", flush=True)
    command = [sys.executable, str(BENCH / script), *arguments, "--json", str(out / f"{name}.json")]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-output")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"unknown parts {sorted(unknown)}; there are {', '.join(PARTS)}")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    before = noise()
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    good = []
    for part, script in SCRIPTS.items():
        if part not in wanted:
            continue
        arguments = ARGUMENTS.get(part, ())
        if part in ON_PLATFORM:
            with running_platform() as home:
                good.append(run_part(part, script, "--home", str(home), *arguments, out=out))
        else:
            good.append(run_part(part, script, *arguments, out=out))
    machine = {"before": before, "after": noise(), "cpus": os.cpu_count()}
    (out / "machine.json").write_text(json.dumps(machine, indent=1))
    print(f"\nmachine noise: {json.dumps(machine)}\nJSON of every part: {out}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
