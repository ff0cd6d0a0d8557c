"""A video sent through an engine that changes nothing, and what must hold of the result."""

import threading
from dataclasses import dataclass, field
from fractions import Fraction

import psutil

from engines.errors import CanceledError
from engines.media.encoding import Encoding, output_suffix
from engines.media.index import index_video
from engines.media.video import transform_video

FAST = Encoding(preset="ultrafast")


@dataclass
class Watcher:
    """A run context that remembers, and cancels after some checkpoints."""

    cancel_after: int | None = None
    checkpoints: int = 0
    seen: list[tuple[int, int, str]] = field(default_factory=list)

    def progress(self, done, total, unit):
        self.seen.append((done, total, unit))

    def checkpoint(self):
        self.checkpoints += 1
        if self.cancel_after is not None and self.checkpoints > self.cancel_after:
            raise CanceledError("stopped by a test")


def untouched(frames):
    return [frame.pixels for frame in frames]


def transform(path, folder, *, process=untouched, batch=8, context=None, encoding=FAST):
    index = index_video(path)
    result = folder / f"result{output_suffix(index)}"
    work = transform_video(
        path,
        result,
        index=index,
        process=process,
        batch=batch,
        context=context or Watcher(),
        encoding=encoding,
    )
    return index, work, result


def seconds(index):
    return [pts * index.time_base for pts in index.pts]


def same_times(before, after):
    """Every frame at its time: exactly, or to the tick where the containers' clocks differ."""
    tick = Fraction(0) if before.time_base == after.time_base else after.time_base
    pairs = zip(seconds(before), seconds(after), strict=True)
    return all(abs(a - b) <= tick for a, b in pairs)


def limited(colour):
    """Unsaid means limited: the two are one for every player."""
    return "pc" if colour.range == "pc" else "tv"


def assert_faithful(before, after):
    assert same_times(before, after)
    tick = max(before.time_base, after.time_base)
    assert abs(before.duration_s - after.duration_s) <= float(tick)
    assert (before.width, before.height) == (after.width, after.height)
    assert before.sample_aspect == after.sample_aspect
    assert after.rotation == 0
    assert limited(before.picture.colour) == limited(after.picture.colour)
    for part in ("matrix", "primaries", "transfer"):
        assert getattr(before.picture.colour, part) == getattr(after.picture.colour, part)


def nothing_left(folder):
    children = [
        child
        for child in psutil.Process().children(recursive=True)
        if "ffmpeg" in child.name() and child.status() != psutil.STATUS_ZOMBIE
    ]
    threads = [thread.name for thread in threading.enumerate() if "video" in thread.name]
    return not children and not threads and not list(folder.iterdir())
