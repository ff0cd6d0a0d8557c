"""Every frame of a video by its exact timestamp, without decoding and without ffprobe.

``ffmpeg -c copy -f framecrc`` prints one line per packet with its timestamps and duration. The same
run decodes the first frame, which proves that the file can be decoded and says how large a shown
frame is. Where packets are not frames (hidden frames, missing timestamps) a second run decodes
everything; where a file is bad, runs of their own tell apart what cannot be read and what cannot
be decoded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from engines.errors import InvalidInputError
from engines.media.containers import MPEGTS, Container, is_encrypted, recognize_file
from engines.media.framecrc import NO_TIMESTAMP, Packet
from engines.media.limits import MediaLimits
from engines.media.listing import list_frames, survey
from engines.media.streams import Picture, Track
from engines.spec import MediaInfo, MediaKind

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
    found = survey(path, container, bounds)
    packets, table, described = found.packets, found.table, found.described
    picture = described.picture
    if picture is None:
        raise InvalidInputError("the file has no video stream", code="no_video_stream")
    codec = table.codecs.get(0, "unknown")
    mode = _decoding(container, codec, packets)
    first = found.first_frame if mode == "first" else None
    shown = first or list_frames(path, container, bounds, mode)
    every = mode == "all"
    frames = shown.packets if every else packets
    time_base = (shown.table if every else table).time_bases[0]
    pts = _ascending(frames)
    width, height = shown.table.sizes[0]
    index = VideoIndex(
        container=container,
        bytes=path.stat().st_size,
        codec=codec,
        time_base=time_base,
        pts=pts,
        last_duration=_last_duration(frames, pts),
        width=width,
        height=height,
        sample_aspect=shown.table.sample_aspects.get(0),
        rotation=described.rotation,
        picture=picture,
        tracks=described.tracks,
        has_chapters=described.has_chapters,
        exact=every or codec not in _HIDING_CODECS,
        keys=_keys(packets, pts),
    )
    _check(index, bounds)
    return index


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
