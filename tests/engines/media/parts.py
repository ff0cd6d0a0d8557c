"""Doing a video in parts, as the platform does, for tests."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from engines.media.encoding import Encoding, output_suffix
from engines.media.index import index_video
from engines.media.segments import join_segments, plan_segments
from engines.media.video import read_frames, transform_video
from engines.spec import InputFiles

EXACT = Encoding(crf=0, preset="ultrafast")  # what comes out is what went in, to the bit


class Nobody:
    """A run context that never cancels."""

    def progress(self, done, total, unit):
        """Ignore it."""

    def checkpoint(self):
        """Go on."""


def untouched(frames):
    """Give every frame back as it is."""
    return frames


def whole(source, folder, *, process=untouched, encoding=EXACT):
    """Transform a video in one go; return the result's path."""
    index = index_video(source)
    path = folder / f"whole{output_suffix(index, encoding.container)}"
    transform_video(
        source,
        path,
        index=index,
        process=process,
        batch=8,
        context=Nobody(),
        encoding=encoding,
    )
    return path


def parts_of(source, folder, *, most=8, process=untouched, encoding=EXACT):
    """Transform a video in up to ``most`` parts; return their paths and the frames lost."""
    index, paths, lost = index_video(source), [], 0
    for segment in plan_segments(index, frames_per_segment=1, most=most):
        path = folder / f"part{segment.number}.mp4"
        work = transform_video(
            source,
            path,
            index=index,
            process=process,
            batch=8,
            context=Nobody(),
            encoding=encoding,
            segment=segment,
        )
        assert work.frames + work.frames_lost == segment.frames
        paths.append(path)
        lost += work.frames_lost
    return paths, lost


def joined(source, parts, folder, *, encoding=EXACT, lost=0):
    """Join parts; return the result's path."""
    index = index_video(source)
    path = folder / f"joined{output_suffix(index, encoding.container)}"
    join_segments(source, parts, path, index=index, encoding=encoding, context=Nobody(), lost=lost)
    return path


def pictures(path: Path) -> list[tuple[int, str]]:
    """List the time and a digest of the stored pixels of every frame."""
    return [
        (frame.pts, hashlib.sha256(frame.stored.data).hexdigest())
        for frame in read_frames(path, index_video(path))
    ]


def run_in_parts(engine, model, params, source, contexts, *, most=8):
    """Run an engine over a video in parts and join them.

    Args:
        contexts: gives a run context with an empty folder of its own at each call.
        most: at most so many parts.

    Returns:
        The joined result and those of the parts, their data as JSON gives it back.
    """
    index = index_video(source)
    parts = []
    for segment in plan_segments(index, frames_per_segment=1, most=most):
        files = InputFiles(source, index.info(), segment=segment)
        part = engine.run(model, params, files, contexts())
        parts.append(replace(part, data=json.loads(json.dumps(part.data))))
    files = InputFiles(source, index.info())
    return engine.joined(model, params, files, parts, contexts()), parts
