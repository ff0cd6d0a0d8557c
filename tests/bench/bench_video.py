"""Speed of videos through our pipeline, each row against a named baseline of the same run.

    [PIXELMETER_MODEL_MIRROR=DIR] python tests/bench/bench_video.py
        [--seconds 10] [--rounds 3] [--engine-seconds 2] [--json FILE]

A clip of 1280 x 720 at 30 per second, rounds interleaved, medians of the wall clock; beside them
the ratio of processor time, which a busy machine changes less:

* no-op: an engine that gives every frame back as it is, against one ffmpeg that decodes and
  encodes the same clip with the same settings (aim: 0.8 of its speed or more); and one that looks
  at every pixel;
* accelerator: an engine that waits 15 ms per frame as for a device, against the ideal overlap,
  which is the longer of the waiting alone and ffmpeg alone (aim: 0.9 of its speed or more);
* picture files: ffmpeg to PNG files, each read and written again, ffmpeg back to a video, as
  desktop tools do (aim: 8 times its speed or more);
* real engines: the wall clock of a job against (decode + infer + encode processor seconds) / cores,
  each measured alone (aim: at most 1.25 times as long). Decoding and encoding are ffmpeg's own,
  inferring is the engine's call on frames that are ready. The job indexes the video and checks the
  result; what kind of file it is was asked before, as the platform does when a file is uploaded.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import cv2

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engines.media.frame import Frame  # noqa: E402 - the tree must be importable first
from engines.media.index import VideoIndex, index_video  # noqa: E402
from engines.media.planes import Pixels  # noqa: E402
from engines.media.video import Process, VideoWork, read_frames  # noqa: E402
from engines.registry import open_registry  # noqa: E402
from engines.spec import InputFiles  # noqa: E402
from tests.bench import video_ways  # noqa: E402
from tests.bench.video_ways import Spent, spending  # noqa: E402

DEVICE_S = 0.015
SIZE, RATE = "1280x720", 30
ENGINES = (  # engine, model, parameters
    ("detect", "yolov8n", {"annotate": True}),
    ("colorize", "tiny", {"type": "building"}),
)


@dataclass(slots=True)
class Rows:
    """What every way took, a number per round."""

    taken: dict[str, list[Spent]] = field(default_factory=dict)

    def take(self, way: str, spent: Spent) -> None:
        """Note one round."""
        self.taken.setdefault(way, []).append(spent)

    def wall(self, way: str) -> float:
        """The median of the wall clock, seconds."""
        return statistics.median(spent.wall_s for spent in self.taken[way])

    def cpu(self, way: str) -> float:
        """The least processor time, seconds: other processes can only add to it."""
        return min(spent.cpu_s for spent in self.taken[way])


def main() -> int:
    arguments = _parse()
    with tempfile.TemporaryDirectory(prefix="bench-video-") as folder:
        report = measure(Path(folder), arguments)
    line = json.dumps(report)
    print(line)
    for row in _told(report):
        print(row)
    if arguments.json:
        arguments.json.write_text(line + "\n")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="length of the clip")
    parser.add_argument("--engine-seconds", type=int, default=2, help="of the real engines' clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8, help="frames per call of the engine")
    parser.add_argument("--json", type=Path, help="write the JSON line here too")
    return parser.parse_args()


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Return every ratio with what it was made of, in seconds."""
    clip = video_ways.generate(folder / "clip.mp4", size=SIZE, rate=RATE, seconds=arguments.seconds)
    rows, result, batch = Rows(), folder / "result.mp4", arguments.batch
    engines: tuple[tuple[str, Process], ...] = (
        ("no_op", video_ways.untouched),
        ("looking", video_ways.looked_at),
        ("accelerator", _waiting),
    )
    for _ in range(arguments.rounds):
        rows.take("ffmpeg", video_ways.ffmpeg_alone(clip, result))
        for name, process in engines:
            rows.take(name, video_ways.ours(clip, result, process=process, batch=batch))
    rows.take("picture_files", _picture_files(clip, folder / "pictures", result))
    frames = arguments.seconds * RATE
    ideal_s = max(frames * DEVICE_S, rows.wall("ffmpeg"))
    return {
        "bench": "video",
        "size": SIZE,
        "frames": frames,
        "cores": os.cpu_count(),
        "wall_s": {way: round(rows.wall(way), 3) for way in rows.taken},
        "cpu_s": {way: round(rows.cpu(way), 3) for way in rows.taken},
        "no_op": round(rows.wall("ffmpeg") / rows.wall("no_op"), 3),
        "no_op_cpu": round(rows.cpu("ffmpeg") / rows.cpu("no_op"), 3),
        "looking": round(rows.wall("ffmpeg") / rows.wall("looking"), 3),
        "looking_cpu": round(rows.cpu("ffmpeg") / rows.cpu("looking"), 3),
        "ideal_s": round(ideal_s, 3),
        "accelerator": round(ideal_s / rows.wall("accelerator"), 3),
        "picture_files": round(rows.wall("picture_files") / rows.wall("no_op"), 2),
        "engines": _engines(folder, arguments),
    }


def _waiting(frames: Sequence[Frame]) -> list[Pixels]:
    """Look at every frame and wait as for a device that computes."""
    pixels = [frame.pixels for frame in frames]
    time.sleep(DEVICE_S * len(pixels))
    return pixels


def _picture_files(clip: Path, folder: Path, result: Path) -> Spent:
    """Return what the way through one PNG file per frame takes; it goes away frame by frame."""
    folder.mkdir()
    with spending() as spent:
        video_ways.ffmpeg("-i", str(clip), "-fps_mode", "passthrough", str(folder / "%06d.png"))
        for path in sorted(folder.iterdir()):
            cv2.imwrite(str(path), cv2.imread(str(path)))
        frames = ["-framerate", str(RATE), "-i", str(folder / "%06d.png"), "-i", str(clip)]
        streams = ["-map", "0:v", "-map", "1:a", "-c:a", "copy"]
        video_ways.ffmpeg(*frames, *streams, *video_ways.encoder(), str(result))
    for path in folder.iterdir():
        path.unlink()
    return spent()


def _engines(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return for each engine whose weights are here what it took and what it should have."""
    mirror = os.environ.get("PIXELMETER_MODEL_MIRROR")
    registry = open_registry(store=folder / "store", mirror=mirror)
    seconds = arguments.engine_seconds
    clip = video_ways.generate(folder / "engines.mp4", size=SIZE, rate=RATE, seconds=seconds)
    files = InputFiles(clip, index_video(clip).info())
    found = {}
    for name, model, params in ENGINES:
        engine, version = registry.engine(name), registry.resolve(name, model)
        if not registry.available(version):
            print(f"{name}: {model} has no weights here; name them with PIXELMETER_MODEL_MIRROR")
            continue
        asked = engine.params_model(**params)
        work_dir = folder / name
        work_dir.mkdir()

        def job(engine=engine, version=version, asked=asked, work_dir=work_dir) -> None:
            engine.run(version, asked, files, Context(work_dir))

        found[name] = _engine(job, import_module(f"engines.{name}.videos"), clip, arguments.rounds)
    registry.sessions.close()
    return found


class Context(video_ways.Nobody):
    """A run that nobody watches."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir


def _engine(
    job: Callable[[], None], videos: ModuleType, clip: Path, rounds: int
) -> dict[str, float]:
    """Return seconds: of the job by the wall clock, of its parts alone by the processor."""
    job()  # loads and warms
    rows = Rows()
    for _ in range(rounds):
        with spending() as spent:
            job()
        rows.take("job", spent())
        rows.take("transcode", video_ways.ffmpeg_alone(clip, clip.with_name("alone.mp4")))
        alone = _Alone()
        with mock.patch.object(videos, "transform_video", alone):
            job()
        rows.take("infer", alone.spent)
    ideal_s = (rows.cpu("transcode") + rows.cpu("infer")) / (os.cpu_count() or 1)
    return {
        "wall_s": round(rows.wall("job"), 3),
        "transcode_cpu_s": round(rows.cpu("transcode"), 3),
        "infer_cpu_s": round(rows.cpu("infer"), 3),
        "ideal_s": round(ideal_s, 3),
        "ratio": round(rows.wall("job") / ideal_s, 3),
        "cpu_ratio": round(rows.cpu("job") / (rows.cpu("transcode") + rows.cpu("infer")), 3),
    }


class _Alone:
    """Takes the place of ``transform_video``: the engine's call on frames that are ready."""

    spent: Spent

    def __call__(
        self,
        source: Path,
        destination: Path,
        *,
        index: VideoIndex,
        process: Process,
        batch: int,
        **_: object,
    ) -> VideoWork:
        frames = list(read_frames(source, index))
        for frame in frames:
            frame.prepare()
        with spending() as spent:
            for first in range(0, len(frames), batch):
                process(frames[first : first + batch])
        self.spent = spent()
        return VideoWork(
            len(frames), index.duration_s, index.width, index.height, container=index.container
        )


def _told(report: dict[str, Any]) -> list[str]:
    """The lines to read."""
    no_op, looking = (
        f"{report[way]:.2f} (by processor time {report[f'{way}_cpu']:.2f})"
        for way in ("no_op", "looking")
    )
    rows = [f"video, {report['frames']} frames of {report['size']}, {report['cores']} cores:"]
    rows += [f"  no-op {no_op} of ffmpeg alone, aim 0.8; looking at pixels {looking}"]
    rows += [f"  waiting 15 ms a frame {report['accelerator']:.2f} of the ideal, aim 0.9"]
    rows += [f"  {report['picture_files']:.1f} times as fast as picture files, aim 8"]
    for name, told in report["engines"].items():
        whole = f"(decode + infer + encode) / cores = {told['ideal_s']:.2f} s, aim at most 1.25"
        whole += f"; by processor time {told['cpu_ratio']:.2f}"
        rows.append(f"  {name}: {told['wall_s']:.2f} s, {told['ratio']:.2f} of {whole}")
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
