"""Memory and temporary disk of a video run against its length.

Clips of the same kind and different lengths go through ``transform_video``, and once through parts
and their join, with an engine that looks at every pixel; each in a fresh child process whose tree
of processes and whose folder are sampled. One JSON line and one line to read come out.

    python tests/bench/bench_video_memory.py [--size 1280x720] [--rate 25] [--lengths 10,60]
        [--part-seconds 5] [--batch 8] [--json FILE]

Parts are equally long whatever the clip is: in one of a second an encoder never fills its
lookahead, and needs less than in any real one. ``make bench-video-long`` takes 1920x1080 and 10 s,
60 s and 10 min.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engines.media.encoding import Encoding  # noqa: E402 - the tree must be importable first
from engines.media.index import index_video  # noqa: E402
from engines.media.segments import join_segments, plan_segments  # noqa: E402
from engines.media.video import transform_video  # noqa: E402
from tests.bench import video_ways  # noqa: E402

SAMPLE_S = 0.02
MEMORY_AIM = 0.10  # a longer clip may need this much more memory than the shortest
DISK_AIM = 2.0  # times the size of the result


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that was there at a time, in bytes, and what came out."""

    memory: int
    disk: int  # of the folder the run works in
    result: int


def main() -> int:
    arguments = _parse()
    if arguments.run:
        return _run_one(arguments.run, arguments.batch, arguments.part_seconds)
    with tempfile.TemporaryDirectory(prefix="bench-video-") as folder:
        report = measure(Path(folder), arguments)
    line = json.dumps(report)
    print(line)
    for way in ("whole", "parts"):
        peaks = ", ".join(
            f"{row['memory_mib']:.0f} MiB and {row['disk_ratio']:.2f}x disk for {row['seconds']} s"
            for row in report[way]
        )
        growth = report[f"{way}_growth"]
        print(f"video {way}: {peaks}; memory grows {growth:.3f}x (aim: within {1 + MEMORY_AIM}x)")
    if arguments.json:
        arguments.json.write_text(line + "\n")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--lengths", default="10,60", help="seconds, shortest first")
    parser.add_argument("--batch", type=int, default=8, help="frames per call of the engine")
    parser.add_argument("--part-seconds", type=int, default=5, help="length of a part")
    parser.add_argument("--json", type=Path, help="write the JSON line here too")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Return the peaks of each length and way, and how memory grows with the length."""
    found: dict[str, list[dict[str, float]]] = {"whole": [], "parts": []}
    for seconds in (int(each) for each in arguments.lengths.split(",")):
        path = folder / f"{seconds}.mp4"
        clip = video_ways.generate(path, size=arguments.size, rate=arguments.rate, seconds=seconds)
        for way, part_s in (("whole", 0), ("parts", arguments.part_seconds)):
            peaks = _sampled(clip, folder / f"{way}-{seconds}", arguments.batch, part_s)
            row = {
                "seconds": seconds,
                "memory_mib": round(peaks.memory / 2**20, 1),
                "disk_ratio": round(peaks.disk / peaks.result, 3),
            }
            found[way].append(row)
        clip.unlink()
    growth = {
        f"{way}_growth": round(max(row["memory_mib"] for row in rows) / rows[0]["memory_mib"], 4)
        for way, rows in found.items()
    }
    return {"bench": "video_memory", "size": arguments.size, **found, **growth}


def _sampled(clip: Path, folder: Path, batch: int, part_s: int) -> Peaks:
    """Run one clip in a child and watch it; parts of 0 s: as a whole."""
    folder.mkdir()
    options = ["--run", str(clip), "--batch", str(batch), "--part-seconds", str(part_s)]
    command = [sys.executable, __file__, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder) as child:
        sampler = _Sampler(child.pid, folder)
        sampler.start()
        child.communicate()
        sampler.join()
    if child.returncode != 0:
        raise SystemExit(f"the run of {clip.name} failed")
    [result] = folder.iterdir()
    return Peaks(sampler.memory, sampler.disk, result.stat().st_size)


class _Sampler(threading.Thread):
    """Adds up the resident memory of a process and its descendants, and a folder, until it ends."""

    def __init__(self, pid: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._folder = folder
        self.memory = 0
        self.disk = 0

    def run(self) -> None:
        try:
            while self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE:
                tree = self._root.children(recursive=True)
                children = sum(_resident(each, parent=self._root.name()) for each in tree)
                self.memory = max(self.memory, _resident(self._root) + children)
                self.disk = max(self.disk, sum(map(_bytes, self._folder.iterdir())))
                time.sleep(SAMPLE_S)
        except psutil.NoSuchProcess:
            return


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _resident(process: psutil.Process, *, parent: str | None = None) -> int:
    """Bytes; none for a child between fork and exec, which still shares its parent's pages."""
    try:
        return 0 if process.name() == parent else int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _run_one(clip: Path, batch: int, part_s: int) -> int:
    """Be the child: transform one clip into the folder it was started in."""
    index, context, result = index_video(clip), video_ways.Nobody(), Path("result.mp4")
    if part_s == 0:
        video_ways.ours(clip, result, process=video_ways.looked_at, batch=batch)
        return 0
    paths = []
    per_part = round(part_s * index.frames / index.duration_s)
    for segment in plan_segments(index, frames_per_segment=per_part):
        paths.append(Path(f"part{segment.number}.mp4"))
        transform_video(
            clip,
            paths[-1],
            index=index,
            process=video_ways.looked_at,
            batch=batch,
            context=context,
            segment=segment,
        )
    join_segments(clip, paths, result, index=index, encoding=Encoding(), context=context)
    for path in paths:
        path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
