"""Runs of ffmpeg that list the packets and the first frames of a stranger's video."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import ffmpeg

from engines.errors import InvalidInputError
from engines.media.containers import Container, timestamps
from engines.media.ffmpeg import Bounds, Finished, command, reading, run
from engines.media.framecrc import PRINTED, Packet, Table
from engines.media.limits import MediaLimits
from engines.media.refusals import diagnose, size_changes
from engines.media.streams import Description, describe

_DESCRIPTION_LINES = 2000
_EVERY_FRAME: dict[str, str | int | None] = {
    "vcodec": "rawvideo",
    "fps_mode": "passthrough",
    "enc_time_base": "demux",
    "noautoscale": None,
    **PRINTED,
}


@dataclass(slots=True)
class Listing:
    """One line per packet or frame, in the order they came, and the facts before them."""

    packets: list[Packet] = field(default_factory=list)
    table: Table = field(default_factory=Table)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file says of itself, and the packets of its moving pictures in decoding order."""

    packets: list[Packet]  # without those that an edit list cuts away
    table: Table
    described: Description
    first_frame: Listing | None = None  # decoded in the same run; None: ask ``list_frames``


def survey(path: Path, container: Container, limits: MediaLimits) -> Survey:
    """List the packets of the first stream of moving pictures; raises ``InvalidInputError``.

    The same run decodes the first frame. Where that goes wrong the packets are listed alone, so
    that a file is refused for what it is and not for its first frame.
    """
    packets, frames = Listing(), Listing()
    facts, told = os.pipe()
    with os.fdopen(facts, "rb") as decoded:
        try:
            outputs = [_packets(path, container, limits), _first(path, container, limits, told)]
            finished = _run(ffmpeg.merge_outputs(*outputs), limits, packets, keep=(told,))
        finally:
            os.close(told)
        # One line: it never filled the pipe.
        frames.packets.extend(frames.table.read(decoded))
    refusal = diagnose(finished, found=bool(packets.packets and frames.packets))
    if refusal and not finished.timed_out:
        packets, frames = Listing(), Listing()
        finished = _run(_packets(path, container, limits), limits, packets)
        refusal = diagnose(finished, found=bool(packets.packets))
    if refusal:
        raise refusal
    shown = [packet for packet in packets.packets if not packet.discard]
    first = frames if frames.packets else None
    return Survey(shown, packets.table, describe(finished.messages.head), first)


def list_frames(path: Path, container: Container, limits: MediaLimits, mode: str) -> Listing:
    """Decode and list the first frame, the key frames or all, as ``mode`` says: first, key, all.

    Raises:
        InvalidInputError: ``video_size_changes`` and what ``diagnose`` finds.
    """
    only_keys = {"skip_frame": "nokey"} if mode == "key" else {}
    one = {"frames:v": 1} if mode == "first" else {}
    source = _input(path, container, limits, **only_keys)["V:0"]
    output = ffmpeg.output(source, "pipe:1", **_EVERY_FRAME, **one)
    frames = Listing()
    finished = _run(output, limits, frames)
    if refusal := diagnose(finished, found=bool(frames.packets)):
        raise refusal
    if len({frame.size for frame in frames.packets}) > 1:
        raise size_changes()
    return frames


def _input(path: Path, container: Container, limits: MediaLimits, **more: str) -> "ffmpeg.Stream":
    options = {
        **reading(container.demuxer),
        **timestamps(container),
        **more,
        "max_pixels": limits.max_video_pixels,
        "max_streams": limits.max_video_streams,
        "threads": 1,
    }
    return ffmpeg.input(f"file:{path}", **options)


def _packets(path: Path, container: Container, limits: MediaLimits) -> "ffmpeg.Stream":
    source = _input(path, container, limits)
    return ffmpeg.output(source["V:0"], "pipe:1", vcodec="copy", **PRINTED)


def _first(path: Path, container: Container, limits: MediaLimits, told: int) -> "ffmpeg.Stream":
    source = _input(path, container, limits)
    one = {**_EVERY_FRAME, "frames:v": 1}
    return ffmpeg.output(source["V:0"], f"pipe:{told}", **one)


def _run(
    output: "ffmpeg.Stream", limits: MediaLimits, listing: Listing, *, keep: Sequence[int] = ()
) -> Finished:
    """Fill ``listing`` with what is printed; raises ``video_too_many_frames``."""
    most = limits.max_video_frames

    def read(stream: IO[bytes]) -> None:
        for packet in listing.table.read(stream):
            listing.packets.append(packet)
            if len(listing.packets) > most:
                detail = f"the video has more than {most} frames: cut it into parts"
                raise InvalidInputError(detail, code="video_too_many_frames")

    return run(
        output.compile(cmd=command(loglevel="info")),
        bounds=Bounds(
            memory_bytes=limits.probe_memory_bytes, cpu_s=int(limits.probe_timeout_s) + 5
        ),
        timeout_s=limits.probe_timeout_s,
        read=read,
        head=_DESCRIPTION_LINES,
        keep=keep,
    )
