"""Every frame of a video by its exact timestamp, without decoding and without ffprobe.

``ffmpeg -c copy -f framecrc`` prints one line per packet with its timestamps and duration. A second
short run decodes the first frame, which proves that the file can be decoded and says how large a
shown frame is. Where packets are not frames (hidden frames, missing timestamps) the second run
decodes everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import ffmpeg

from engines.errors import InvalidInputError
from engines.media.containers import MPEGTS, Container, is_encrypted, recognize_file
from engines.media.ffmpeg import Bounds, command, reading, run
from engines.media.framecrc import NO_TIMESTAMP, Packet, Table
from engines.media.limits import MediaLimits
from engines.media.refusals import diagnose
from engines.media.streams import Description, Picture, Track, describe
from engines.spec import MediaInfo, MediaKind

_DESCRIPTION_LINES = 2000
_HIDING_CODECS = frozenset({"vp8"})  # a packet may be a reference frame that is never shown
_MOST_DECODED_FOR_AN_INDEX = 10_000
_RESIZING_CODECS = frozenset({"vp8", "vp9", "av1"})  # WebRTC changes the size as the network does


@dataclass(frozen=True, slots=True)
class VideoIndex:
    """The chosen video stream of a file: exact times of its frames and the form of its pixels.

    Times are integers in ticks of ``time_base``; ``seconds`` converts. ``width``, ``height`` and
    ``sample_aspect`` describe a frame as shown, after rotation was applied.
    """

    container: Container
    bytes: int
    codec: str
    time_base: Fraction
    pts: tuple[int, ...]  # ascending; one per frame
    last_duration: int  # of the last frame, ticks
    width: int
    height: int
    sample_aspect: Fraction | None  # width over height of one pixel; None: unknown
    rotation: int  # degrees clockwise that were needed to show frames upright
    picture: Picture
    tracks: tuple[Track, ...]  # sound and subtitles
    has_chapters: bool = False
    exact: bool = True  # False: some packets may be hidden, pts is an upper bound
    keys: tuple[int, ...] = ()  # pts of key frames, ascending; none where packets have no times

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return len(self.pts)

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last one."""
        return float((self.pts[-1] + self.last_duration - self.pts[0]) * self.time_base)

    @property
    def fps(self) -> float:
        """Mean frames per second."""
        return self.frames / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def has_audio(self) -> bool:
        """Whether any sound track exists."""
        return any(track.kind == "audio" for track in self.tracks)

    def seconds(self, pts: int) -> float:
        """Convert ticks to seconds."""
        return float(pts * self.time_base)

    def info(self) -> MediaInfo:
        """Return the facts that the platform keeps about a file."""
        return MediaInfo(
            kind=MediaKind.VIDEO,
            media_type=self.container.media_type,
            bytes=self.bytes,
            width=self.width,
            height=self.height,
            duration_s=self.duration_s,
            frames=self.frames,
            fps=self.fps,
            has_audio=self.has_audio,
        )


def probe_video(path: Path, limits: MediaLimits) -> MediaInfo:
    """Return what a video file is, within ``limits``.

    Raises ``InvalidInputError`` with the code of the first reason to refuse it: ``empty_file``,
    ``file_too_large``, ``unsupported_media``, ``video_encrypted``, ``video_truncated``,
    ``media_unreadable``, ``media_too_complex``, ``no_video_stream``, ``video_too_many_streams``,
    ``video_too_large``, ``video_too_long``, ``video_too_many_frames``, ``video_too_many_fps``,
    ``video_size_changes``, ``video_timestamps_invalid``.
    """
    return index_video(path, limits).info()


def index_video(path: Path, limits: MediaLimits | None = None) -> VideoIndex:
    """Return the exact index of a video file; raises what ``probe_video`` raises."""
    bounds = limits or MediaLimits()
    container = _admit(path, bounds)
    packets, table, described = _demux(path, container, bounds)
    picture = described.picture
    if picture is None:
        raise InvalidInputError("the file has no video stream", code="no_video_stream")
    codec = table.codecs.get(0, "unknown")
    mode = _decoding(container, codec, packets)
    shown, shown_table = _decode(path, container, bounds, mode)
    every = mode == "all"
    frames = shown if every else packets
    time_base = (shown_table if every else table).time_bases[0]
    pts = _ascending(frames)
    width, height = shown_table.sizes[0]
    index = VideoIndex(
        container=container,
        bytes=path.stat().st_size,
        codec=codec,
        time_base=time_base,
        pts=pts,
        last_duration=_last_duration(frames, pts),
        width=width,
        height=height,
        sample_aspect=shown_table.sample_aspects.get(0),
        rotation=described.rotation,
        picture=picture,
        tracks=described.tracks,
        has_chapters=described.has_chapters,
        exact=every or codec not in _HIDING_CODECS,
        keys=_keys(packets, pts),
    )
    _check(index, bounds)
    return index


def timestamps(container: Container) -> dict[str, None]:
    """Return the input option that keeps the times of a file as they are.

    Broadcast clocks start anywhere, so a transport stream alone counts from its own beginning.
    """
    return {} if container is MPEGTS else {"copyts": None}


def _admit(path: Path, limits: MediaLimits) -> Container:
    size = path.stat().st_size
    if size == 0:
        raise InvalidInputError("the file is empty: upload it again", code="empty_file")
    if size > limits.max_video_bytes:
        detail = f"the file has {size} bytes, at most {limits.max_video_bytes} are accepted"
        raise InvalidInputError(detail, code="file_too_large")
    container = recognize_file(path)
    if container is None:
        detail = "not a video we can open: send MP4, MOV, MKV, WebM, AVI or MPEG-TS"
        raise InvalidInputError(detail, code="unsupported_media")
    if container.demuxer == "mov" and is_encrypted(path):
        detail = "the video is encrypted (DRM): send it without protection"
        raise InvalidInputError(detail, code="video_encrypted")
    return container


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


def _run(
    output: "ffmpeg.Stream", limits: MediaLimits, *, most: int
) -> tuple[list[Packet], Table, Description]:
    table, packets = Table(), list[Packet]()

    def read(stream: IO[bytes]) -> None:
        for packet in table.read(stream):
            packets.append(packet)
            if len(packets) > most:
                detail = f"the video has more than {most} frames: cut it into parts"
                raise InvalidInputError(detail, code="video_too_many_frames")

    memory = Bounds(memory_bytes=limits.probe_memory_bytes, cpu_s=int(limits.probe_timeout_s) + 5)
    finished = run(
        output.compile(cmd=command(loglevel="info")),
        bounds=memory,
        timeout_s=limits.probe_timeout_s,
        read=read,
        head=_DESCRIPTION_LINES,
    )
    refusal = diagnose(finished, found=bool(packets))
    if refusal:
        raise refusal
    return packets, table, describe(finished.messages.head)


def _demux(
    path: Path, container: Container, limits: MediaLimits
) -> tuple[list[Packet], Table, Description]:
    """List the packets of the first stream of moving pictures, in decoding order."""
    source = _input(path, container, limits)
    output = ffmpeg.output(source["V:0"], "pipe:1", f="framecrc", vcodec="copy")
    packets, table, described = _run(output, limits, most=limits.max_video_frames)
    return [packet for packet in packets if not packet.discard], table, described


def _decoding(container: Container, codec: str, packets: list[Packet]) -> str:
    """Say how much must be decoded to trust the index: first, key (frames) or all."""
    times = {packet.pts for packet in packets}
    decoding_times = {packet.dts for packet in packets}
    # ffmpeg moves timestamps that go backwards, which shows as two packets at one decoding time.
    repaired = len(decoding_times) < len(packets)
    if NO_TIMESTAMP in times or len(times) < len(packets) or repaired:
        return "all"
    if codec in _HIDING_CODECS and len(packets) <= _MOST_DECODED_FOR_AN_INDEX:
        return "all"
    return "key" if container is MPEGTS or codec in _RESIZING_CODECS else "first"


def _decode(
    path: Path, container: Container, limits: MediaLimits, mode: str
) -> tuple[list[Packet], Table]:
    """Decode the first frame, the key frames or all frames; refuse a size that changes."""
    only_keys = {"skip_frame": "nokey"} if mode == "key" else {}
    one = {"frames:v": 1} if mode == "first" else {}
    output = ffmpeg.output(
        _input(path, container, limits, **only_keys)["V:0"],
        "pipe:1",
        f="framecrc",
        vcodec="rawvideo",
        fps_mode="passthrough",
        enc_time_base="demux",
        noautoscale=None,
        **one,
    )
    frames, table, _ = _run(output, limits, most=limits.max_video_frames)
    if len({frame.size for frame in frames}) > 1:
        raise size_changes()
    return frames, table


def size_changes() -> InvalidInputError:
    """Return the refusal of a video whose frames do not all have one size."""
    detail = "the picture size changes within the video: convert it to one size first"
    return InvalidInputError(detail, code="video_size_changes")


def _ascending(frames: Iterable[Packet]) -> tuple[int, ...]:
    pts = tuple(sorted(frame.pts for frame in frames))
    if not pts or pts[0] == NO_TIMESTAMP or len(set(pts)) < len(pts):
        detail = "frames have missing or repeated timestamps: convert the video first"
        raise InvalidInputError(detail, code="video_timestamps_invalid")
    return pts


def _keys(packets: Iterable[Packet], pts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the times of key frames; of packets without a time of their own nothing is known."""
    return tuple(sorted({each.pts for each in packets if each.key} & set(pts)))


def _last_duration(frames: Iterable[Packet], pts: tuple[int, ...]) -> int:
    last = next(frame for frame in frames if frame.pts == pts[-1])
    if last.duration > 0:
        return last.duration
    return pts[-1] - pts[-2] if len(pts) > 1 else 0


def _check(index: VideoIndex, limits: MediaLimits) -> None:
    if index.duration_s > limits.max_video_duration_s:
        detail = (
            f"the video lasts {index.duration_s:.1f} s, at most {limits.max_video_duration_s:g} s"
        )
        raise InvalidInputError(f"{detail} are accepted: cut it into parts", code="video_too_long")
    if index.fps > limits.max_video_fps:
        detail = (
            f"the video has {index.fps:.0f} frames per second, at most {limits.max_video_fps:g}"
        )
        raise InvalidInputError(f"{detail} are accepted", code="video_too_many_fps")
    if (
        index.width * index.height > limits.max_video_pixels
        or max(index.width, index.height) > limits.max_video_side
    ):
        detail = f"frames of {index.width}x{index.height} are too large: scale the video down"
        raise InvalidInputError(detail, code="video_too_large")
