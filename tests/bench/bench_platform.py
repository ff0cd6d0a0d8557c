"""Pictures per second through the whole platform against the engine alone.

    python tests/bench/bench_platform.py --home .pixelmeter [--engine detect|colorize]
        [--model NAME] [--pictures 200] [--json FILE]

Needs a running platform (``pixelmeter up``) with nothing else to do and the weights of the model.
The same distinct JPEG files, the same two ways, in one run on one machine:

* alone: ``engines.many.run_items`` over the files in this process, results dropped (those of
  ``colorize`` are pictures, which are written to its folder as in a worker);
* platform: every file uploaded before; then all jobs submitted over HTTP at once, and the time
  from the first request to the last settlement's commit.

In the platform's time are the requests, quotes, holds, dispatch, claims, leases, results in the
database and pictures in the storage, usage records and settlements, and this script's own requests
on the same processors.
The engine alone is measured before and after; its better time is the baseline.
"""

import argparse
import http.client
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
from urllib.parse import urlsplit

import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.client.client import Client  # noqa: E402 - the tree must be importable first
from engines.many import run_items  # noqa: E402
from engines.media.limits import MediaLimits  # noqa: E402
from engines.media.probe import probe  # noqa: E402
from engines.registry import Registry, open_registry  # noqa: E402
from engines.spec import EngineResult, InputFiles, RunItem  # noqa: E402
from tests.bench.bench_overhead import addresses  # noqa: E402

MODELS = {"detect": "yolov8n", "colorize": "tiny"}
AIMS = {"detect": 0.85, "colorize": 0.85}
CONNECTIONS = 4
WAIT_S = 300.0


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Distinct photographs: crops of the pictures inside scikit-image, 640 x 480 JPEG."""
    import cv2
    import numpy as np
    import skimage.data

    sources = [
        cv2.resize(image[:, :, ::-1], (1100, 830))
        for image in (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea())
    ]
    random = np.random.default_rng(11)
    paths = []
    for number in range(count):
        left, top = int(random.integers(0, 460)), int(random.integers(0, 350))
        crop = sources[number % len(sources)][top : top + 480, left : left + 640]
        path = folder / f"{number:04}.jpg"
        cv2.imwrite(str(path), crop, [cv2.IMWRITE_JPEG_QUALITY, 90])
        paths.append(path)
    return paths


class Context:
    """A run that nobody watches."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir

    def progress(self, done: int, total: int, unit: str) -> None:
        """Forget it."""

    def checkpoint(self) -> None:
        """Go on."""


def alone(
    registry: Registry, engine_name: str, model: str, paths: Sequence[Path], folder: Path
) -> float:
    """Seconds for all pictures in this process, each with a work folder of its own."""
    engine = registry.engine(engine_name)
    version = registry.resolve(engine_name, model)
    params = engine.params_model()
    folders = [folder / f"run-{path.stem}" for path in paths]
    for each in folders:
        each.mkdir(exist_ok=True)
    infos = [probe(path, MediaLimits()) for path in paths]  # the platform probes at the upload
    started = time.perf_counter()
    outcomes = run_items(
        engine,
        (
            RunItem(version, params, InputFiles(path, info), Context(work))
            for path, info, work in zip(paths, infos, folders, strict=True)
        ),
    )
    for outcome in outcomes:
        if not isinstance(outcome, EngineResult):
            raise SystemExit(f"the engine alone failed: {outcome}")
    return time.perf_counter() - started


def submit_all(base_url: str, key: str, bodies: Sequence[dict[str, Any]]) -> list[str]:
    """Submit over a few kept connections, as a client library does, without its comfort."""
    address = urlsplit(base_url)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def submit(share: Sequence[dict[str, Any]]) -> list[str]:
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        jobs = []
        for body in share:
            connection.request("POST", "/v1/jobs", json.dumps(body), headers)
            answer = connection.getresponse()
            document = json.loads(answer.read())
            if answer.status != http.client.ACCEPTED:
                raise SystemExit(f"refused: {document}")
            jobs.append(str(document["id"]))
        connection.close()
        return jobs

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        shares = [bodies[start::CONNECTIONS] for start in range(CONNECTIONS)]
        return [job for jobs in pool.map(submit, shares) for job in jobs]


def wait_settled(dsn: str, jobs: Sequence[str]) -> None:
    deadline = time.monotonic() + WAIT_S
    query = "SELECT count(*) FROM job WHERE id = ANY(%s) AND settled_at IS NOT NULL"
    with psycopg.connect(dsn, autocommit=True) as database:
        while True:
            row = database.execute(query, (list(jobs),)).fetchone()
            if row is not None and row[0] == len(jobs):
                break
            if time.monotonic() > deadline:
                raise SystemExit(f"{row} of {len(jobs)} jobs are settled")
            time.sleep(0.05)
        bad = database.execute(
            "SELECT count(*) FROM job WHERE id = ANY(%s) AND status <> 'succeeded'", (list(jobs),)
        ).fetchone()
    if bad is None or bad[0]:
        raise SystemExit(f"{bad} jobs did not succeed")


def through_platform(
    where: dict[str, str], engine: str, model: str, paths: Sequence[Path]
) -> tuple[float, float]:
    """Seconds from the first request to the last settlement, and until all were accepted."""
    with Client.connect(where["base_url"], where["key"]) as client:
        files = [client.upload(path)["id"] for path in paths]
    bodies = [
        {
            "engine": engine,
            "model": model,
            "input": {"target": {"file": file}},
            "cache": False,  # a home that ran this before must run it again
        }
        for file in files
    ]
    warm_up = submit_all(where["base_url"], where["key"], bodies[:CONNECTIONS])
    wait_settled(where["dsn"], warm_up)
    fresh = bodies[CONNECTIONS:]
    started = time.perf_counter()
    jobs = submit_all(where["base_url"], where["key"], fresh)
    accepted = time.perf_counter() - started
    wait_settled(where["dsn"], jobs)
    return time.perf_counter() - started, accepted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="PIXELMETER_HOME of a running platform")
    parser.add_argument("--base-url")
    parser.add_argument("--key", help="a tenant's API key")
    parser.add_argument("--dsn", help="the platform's database")
    parser.add_argument("--engine", choices=tuple(MODELS), default="detect")
    parser.add_argument("--model", help="default: yolov8n, for colorize tiny")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--json", type=Path, help="also write the outcome here")
    options = parser.parse_args()
    if options.home is None and None in {options.base_url, options.key, options.dsn}:
        parser.error("give --home, or all of --base-url, --key and --dsn")
    where = addresses(options)
    mirror = os.environ.get("PIXELMETER_MODEL_MIRROR")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = open_registry(store=(options.home or folder).resolve() / "models", mirror=mirror)
        paths = make_pictures(folder, options.pictures + CONNECTIONS)
        measured = paths[CONNECTIONS:]
        what = options.engine, options.model or MODELS[options.engine]
        alone(registry, *what, paths[:CONNECTIONS], folder)  # load the network
        before = alone(registry, *what, measured, folder)
        whole, accepted = through_platform(where, *what, paths)
        after = alone(registry, *what, measured, folder)
    best = min(before, after)
    outcome = {
        "bench": f"platform {options.engine}",
        "model": what[1],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "pictures": len(measured),
        "alone_per_s": round(len(measured) / best, 2),
        "alone_spread": round(abs(before - after) / best, 3),
        "platform_per_s": round(len(measured) / whole, 2),
        "accepting_s": round(accepted, 2),
        "ratio": round(best / whole, 3),
        "aim": AIMS[options.engine],
    }
    print(
        f"\n{outcome['pictures']} pictures, {what[0]} {what[1]}: engine alone"
        f" {outcome['alone_per_s']}/s, through the platform {outcome['platform_per_s']}/s,"
        f" ratio {outcome['ratio']} (aim {outcome['aim']})"
    )
    print(json.dumps(outcome))
    if options.json is not None:
        options.json.write_text(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
