"""Is the written video the one that was asked for? Checked before anybody is charged for it."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import ffmpeg

from engines.errors import EngineFaultError
from engines.media.containers import AVI, MP4, MPEGTS, Container, timestamps
from engines.media.ffmpeg import Bounds, Process, command, reading, run
from engines.media.framecrc import PRINTED, Packet, Table
from engines.media.index import VideoIndex

_TIMEOUT_S = 600.0


class _Patience(Protocol):
    def checkpoint(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stream:
    """The pictures of a written file."""

    pts: tuple[int, ...]  # ascending
    time_base: Fraction
    extradata: str  # what a decoder must know before the first packet; parts of one video agree
    sound: tuple[tuple[int, str], ...] = ()  # of each track: packets, and a digest of their bytes


def verify_part(path: Path, *, index: VideoIndex, pts: Sequence[int]) -> None:
    """Check one part of a video: every frame that was encoded, at exactly its tick.

    Raises:
        EngineFaultError: ``video_verify_failed``.
    """
    found = read_stream(path, MP4)
    if found.time_base != Fraction(1, index.time_base.denominator):
        raise _failed("its clock is not that of the source")
    if found.pts != tuple(each * index.time_base.numerator for each in pts):
        raise _failed(f"{len(found.pts)} of {len(pts)} frames were written, or not at their times")


class SourceSound:
    """The sound packets of a source, listed beside other work. A context manager.

    Begun with the work itself, so that after it only the written file is left to be read.
    """

    def __init__(self, source: Path, index: VideoIndex) -> None:
        streams = [str(track.position) for track in index.tracks if track.kind == "audio"]
        self.tracks = len(streams)
        self._packets = _Packets(self.tracks)
        self._reading: tuple[Process, ThreadPoolExecutor, Future[None]] | None = None
        if streams:
            arguments = _arguments(source, index.container, streams)
            process, beside = Process(arguments, bounds=Bounds()), ThreadPoolExecutor(1, "sound")
            self._reading = process, beside, beside.submit(self._read, process)

    def _read(self, process: Process) -> None:
        for packet in Table().read(process.stdout):
            self._packets.add(packet.stream, packet)
        _check_read(process.wait(), process.messages.text())

    def told(self) -> tuple[tuple[int, str], ...]:
        """Return of each track how many packets it has and a digest of their bytes."""
        try:
            if self._reading:
                self._reading[2].result(_TIMEOUT_S)
        except TimeoutError:
            raise _failed("the sound of the source cannot be listed in time") from None
        return self._packets.told()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the reading, also in its midst."""
        if self._reading:
            process, beside, _ = self._reading
            process.kill()
            beside.shutdown()
            process.__exit__(kind, error, trace)


def verify_copy(
    destination: Path,
    container: Container,
    *,
    index: VideoIndex,
    pts: Sequence[int],
    sound: SourceSound,
    context: _Patience,
) -> None:
    """Compare a written video with its source; ``pts`` are the ticks that were encoded.

    Every frame must be there once, at its time to within the tick of the container; every sound
    packet must be there, byte for byte where the container stores it in the same form.

    Raises:
        EngineFaultError: ``video_verify_failed``, naming what differs.
    """
    written = read_stream(destination, container, sound=sound.tracks)
    before = sound.told()
    context.checkpoint()
    _check_times(written, index, pts)
    # Broadcast streams repeat a header in every packet, which MP4 and Matroska store once.
    repacked = index.container in {MPEGTS, AVI}
    after = written.sound
    same = [count for count, _ in before] == [count for count, _ in after]
    if not same or (before != after and not repacked):
        raise _failed("sound packets differ from the source")


def _check_times(written: Stream, index: VideoIndex, pts: Sequence[int]) -> None:
    if len(written.pts) != len(pts):
        raise _failed(f"{len(written.pts)} of {len(pts)} frames were written")
    ours, theirs = index.time_base, written.time_base
    tick = max(ours, theirs) if ours != theirs else Fraction(0)
    for wanted, there in zip(pts, written.pts, strict=True):
        if abs(wanted * ours - there * theirs) > tick:
            raise _failed(f"the frame at {index.seconds(wanted):.6f} s moved")


def _failed(what: str) -> EngineFaultError:
    return EngineFaultError(f"the written video is wrong: {what}", code="video_verify_failed")


def read_stream(path: Path, container: Container, *, sound: int = 0) -> Stream:
    """Read a written file's pictures and its first ``sound`` tracks; raises as ``verify_part``."""
    table, times, packets = Table(), list[int](), _Packets(sound)

    def read(stream: IO[bytes]) -> None:
        for packet in table.read(stream):
            if packet.stream:
                packets.add(packet.stream - 1, packet)
            elif not packet.discard:
                times.append(packet.pts)

    streams = ["V:0", *(f"a:{place}" for place in range(sound))]
    arguments = _arguments(path, container, streams)
    finished = run(arguments, bounds=Bounds(), timeout_s=_TIMEOUT_S, read=read)
    _check_read(finished.status, finished.messages.text())
    time_base = table.time_bases.get(0, Fraction(1))
    return Stream(tuple(sorted(times)), time_base, table.extradata.get(0, ""), packets.told())


class _Packets:
    """Counts and digests of several streams."""

    def __init__(self, streams: int) -> None:
        self._counts = [0] * streams
        self._digests = [hashlib.sha256() for _ in range(streams)]

    def add(self, stream: int, packet: Packet) -> None:
        self._counts[stream] += 1
        self._digests[stream].update(f"{packet.size} {packet.checksum}\n".encode())

    def told(self) -> tuple[tuple[int, str], ...]:
        pairs = zip(self._counts, self._digests, strict=True)
        return tuple((count, digest.hexdigest()) for count, digest in pairs)


def _arguments(path: Path, container: Container, streams: list[str]) -> list[str]:
    source = ffmpeg.input(f"file:{path}", **reading(container.demuxer), **timestamps(container))
    output = ffmpeg.output(*(source[name] for name in streams), "pipe:1", c="copy", **PRINTED)
    arguments: list[str] = output.compile(cmd=command())
    return arguments


def _check_read(status: int, text: str) -> None:
    if status != 0:
        raise _failed(f"it cannot be read back ({text[-200:]})")
