"""What the video benches share: clips, ffmpeg by itself, what a block took."""

import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.media.encoding import Encoding
from engines.media.ffmpeg import find_ffmpeg
from engines.media.frame import Frame
from engines.media.index import index_video
from engines.media.planes import Pixels
from engines.media.video import Process, transform_video


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


def generate(path: Path, *, size: str, rate: int, seconds: int) -> Path:
    """Make a clip with sound and a little noise in time, as every camera has.

    Ten seconds of it are repeated where it is longer.
    """
    made = min(seconds, 10)
    source = f"testsrc2=s={size}:r={rate}:d={made},noise=alls=4:allf=t"
    pictures = ["-f", "lavfi", "-i", source]
    sound = ["-f", "lavfi", "-i", f"sine=d={made}"]
    video = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "50",
        "-c:a",
        "aac",
    ]
    short = path if made == seconds else path.with_name(f"once-{path.name}")
    ffmpeg(*pictures, *sound, *video, str(short))
    if made < seconds:
        again = ["-stream_loop", str(-(-seconds // made) - 1), "-i", str(short), "-t", str(seconds)]
        ffmpeg(*again, "-c", "copy", str(path))
        short.unlink()
    return path


def ffmpeg(*arguments: str) -> None:
    """Run ffmpeg with nothing of ours around it."""
    quiet = ["-y", "-nostdin", "-hide_banner", "-loglevel", "error"]
    subprocess.run([find_ffmpeg(), *quiet, *arguments], check=True)


def encoder(filters: str = "null") -> list[str]:
    """Give the options with which ffmpeg encodes as we do."""
    plain = Encoding()
    settings = ["-preset", plain.preset, "-crf", str(plain.crf), "-pix_fmt", "yuv420p"]
    return ["-vf", filters, "-c:v", "libx264", *settings]


def ffmpeg_alone(clip: Path, result: Path, *, filters: str = "null") -> Spent:
    """Return what ffmpeg needs to decode and encode a clip by itself."""
    with spending() as spent:
        ffmpeg("-i", str(clip), *encoder(filters), "-c:a", "copy", str(result))
    return spent()


def ours(clip: Path, result: Path, *, process: Process, batch: int) -> Spent:
    """Return what our way through takes, index and checks included."""
    with spending() as spent:
        transform_video(
            clip, result, index=index_video(clip), process=process, batch=batch, context=Nobody()
        )
    return spent()


def untouched(frames: "list[Frame]") -> "list[Frame]":
    """An engine that gives every frame back as it is."""
    return frames


def looked_at(frames: "list[Frame]") -> list[Pixels]:
    """An engine that looks at every pixel, and gives the same back."""
    return [frame.pixels for frame in frames]


@contextmanager
def spending() -> Iterator[Callable[[], Spent]]:
    """Measure a block, the processes that end in it included; ask after it."""
    begun, used = time.perf_counter(), processor_s()
    ended: list[Spent] = []
    yield lambda: ended[0]
    ended.append(Spent(time.perf_counter() - begun, processor_s() - used))


def processor_s() -> float:
    """Processor time of this process and of those that it waited for."""
    times = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in times)
