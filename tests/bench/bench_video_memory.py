"""Memory of a video run against its length, and its speed against ffmpeg alone.

A 10 s and a 60 s clip of the same kind go through ``transform_video`` with an engine that changes
nothing, each in a fresh child process whose tree of processes is sampled. The speed is compared
with one ffmpeg that decodes and encodes the same clip with the same encoder settings, in turn
with ours: by the clock, and by processor time, which a busy machine changes less. That ffmpeg
never shows anybody a picture, so a second one turns every frame into BGR and back as well; the
distance to it is what pipes, timestamps and checks cost. One JSON line and one line to read come
out.

    python tests/bench/bench_video_memory.py [--size 1280x720] [--rate 25] [--batch 8] [--json FILE]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engines.media.encode import Encoding  # noqa: E402 - the tree must be importable first
from engines.media.ffmpeg import find_ffmpeg  # noqa: E402
from engines.media.index import index_video  # noqa: E402
from engines.media.video import transform_video  # noqa: E402

SHORT_S, LONG_S = 10, 60
SAMPLE_S = 0.02
AS_BGR = "scale=flags=bicubic,format=bgr24,format=bgr0,scale=flags=area"  # as our two ffmpegs do
AIM = 0.10  # a clip six times as long may need this much more memory


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run took."""

    wall_s: float
    cpu_s: float  # of all its processes


class Nobody:
    """A run context that never cancels."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Ignore it."""

    def checkpoint(self) -> None:
        """Go on."""


def main() -> int:
    arguments = _parse()
    if arguments.run:
        return _run_one(arguments.run, arguments.batch)
    with tempfile.TemporaryDirectory(prefix="bench-video-") as folder:
        report = measure(Path(folder), arguments)
    line = json.dumps(report)
    print(line)
    print(
        f"video memory: {report['rss_short_mib']:.0f} MiB for {SHORT_S} s, "
        f"{report['rss_long_mib']:.0f} MiB for {LONG_S} s = {report['rss_ratio']:.3f}x "
        f"(aim: within {1 + AIM:.2f}x); {report['fps']:.1f} frames/s = "
        f"{report['fps_ratio']:.2f} of ffmpeg alone ({report['ffmpeg_fps']:.1f}); "
        f"by processor time {report['cpu_ratio']:.2f} of it and "
        f"{report['cpu_ratio_as_bgr']:.2f} of one that shows every frame as BGR"
    )
    if arguments.json:
        arguments.json.write_text(line + "\n")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--batch", type=int, default=8, help="frames per call of the engine")
    parser.add_argument("--rounds", type=int, default=3, help="of the short clip, both sides")
    parser.add_argument("--json", type=Path, help="write the JSON line here too")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, float | str]:
    """Return peaks of memory in MiB, frames per second of both sides, and the ratios."""
    clips = {
        length: _generate(folder / f"{length}.mp4", arguments.size, arguments.rate, length)
        for length in (SHORT_S, LONG_S)
    }
    ours, alone, shown, peaks_short = [], [], [], []
    for _ in range(arguments.rounds):
        peak, spent = _ours(clips[SHORT_S], arguments.batch)
        peaks_short.append(peak)
        ours.append(spent)
        alone.append(_ffmpeg_alone(clips[SHORT_S], folder / "alone.mp4"))
        shown.append(_ffmpeg_alone(clips[SHORT_S], folder / "alone.mp4", filters=AS_BGR))
    peak_long, _ = _ours(clips[LONG_S], arguments.batch)
    peak_short = statistics.median(peaks_short)
    frames = SHORT_S * arguments.rate
    fps = frames / statistics.median(spent.wall_s for spent in ours)
    ffmpeg_fps = frames / statistics.median(spent.wall_s for spent in alone)
    # The least of several: other processes can only add to it.
    cpu_s, alone_s, shown_s = (min(spent.cpu_s for spent in each) for each in (ours, alone, shown))
    return {
        "bench": "video_memory",
        "size": arguments.size,
        "rss_short_mib": round(peak_short / 2**20, 1),
        "rss_long_mib": round(peak_long / 2**20, 1),
        "rss_ratio": round(peak_long / peak_short, 4),
        "fps": round(fps, 2),
        "ffmpeg_fps": round(ffmpeg_fps, 2),
        "fps_ratio": round(fps / ffmpeg_fps, 4),
        "cpu_s": round(cpu_s, 2),
        "cpu_ratio": round(alone_s / cpu_s, 4),
        "cpu_ratio_as_bgr": round(shown_s / cpu_s, 4),
    }


def _generate(path: Path, size: str, rate: int, length: int) -> Path:
    pictures = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={length}"]
    sound = ["-f", "lavfi", "-i", f"sine=d={length}"]
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    _ffmpeg(*pictures, *sound, *video, str(path))
    return path


def _ffmpeg(*arguments: str) -> None:
    quiet = ["-y", "-nostdin", "-hide_banner", "-loglevel", "error"]
    subprocess.run([find_ffmpeg(), *quiet, *arguments], check=True)


def _ffmpeg_alone(clip: Path, result: Path, *, filters: str = "null") -> Spent:
    """Return what ffmpeg needs to decode and encode a clip by itself."""
    encoding = Encoding()
    settings = ["-preset", encoding.preset, "-crf", str(encoding.crf), "-pix_fmt", "yuv420p"]
    codecs = ["-vf", filters, "-c:v", "libx264", *settings, "-c:a", "copy"]
    with spending() as spent:
        _ffmpeg("-i", str(clip), *codecs, str(result))
    return spent()


@contextmanager
def spending() -> Iterator[Callable[[], Spent]]:
    """Measure a block, the processes that end in it included; ask after it."""
    begun, used = time.perf_counter(), _processor_s()
    ended: list[Spent] = []
    yield lambda: ended[0]
    ended.append(Spent(time.perf_counter() - begun, _processor_s() - used))


def _processor_s() -> float:
    times = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in times)


def _ours(clip: Path, batch: int) -> tuple[int, Spent]:
    """Return the peak of memory of a child and all its processes, and what its run took."""
    command = [sys.executable, __file__, "--run", str(clip), "--batch", str(batch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        sampler = _Sampler(child.pid)
        sampler.start()
        output, _ = child.communicate()
        sampler.join()
    if child.returncode != 0:
        raise SystemExit(f"the run of {clip.name} failed")
    return sampler.peak, Spent(**json.loads(output))


class _Sampler(threading.Thread):
    """Adds up the resident memory of a process and its descendants until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self.peak = 0

    def run(self) -> None:
        try:
            while self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE:
                tree = self._root.children(recursive=True)
                children = sum(_resident(each, parent=self._root.name()) for each in tree)
                self.peak = max(self.peak, _resident(self._root) + children)
                time.sleep(SAMPLE_S)
        except psutil.NoSuchProcess:
            return


def _resident(process: psutil.Process, *, parent: str | None = None) -> int:
    """Bytes; none for a child between fork and exec, which still shares its parent's pages."""
    try:
        return 0 if process.name() == parent else int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _run_one(clip: Path, batch: int) -> int:
    """Be the child: transform one clip and print what it took."""
    index = index_video(clip)
    result = clip.with_name(f"{clip.stem}-out.mp4")
    with spending() as spent:
        transform_video(
            clip,
            result,
            index=index,
            process=lambda frames: [frame.pixels for frame in frames],
            batch=batch,
            context=Nobody(),
        )
    result.unlink()
    print(json.dumps(asdict(spent())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
