"""How a result is stored: container, codec, quality; all decided here, nothing is run."""

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction

from engines.errors import InvalidInputError
from engines.media.containers import MATROSKA, MOV, MP4, WEBM, Container, timestamps
from engines.media.index import VideoIndex
from engines.media.planes import in_planes
from engines.media.streams import UNKNOWN, Colour, Track
from engines.spec import Segment

X264, NVENC, VP9 = "libx264", "h264_nvenc", "libvpx-vp9"
# Width and height that every generation of NVENC takes.
_NVENC_WIDTHS, _NVENC_HEIGHTS = range(160, 4097), range(64, 4097)
_MUXERS = {MP4.name: "mp4", MOV.name: "mov", MATROSKA.name: "matroska", WEBM.name: "webm"}
_SUFFIXES = {MP4.name: ".mp4", MOV.name: ".mov", MATROSKA.name: ".mkv", WEBM.name: ".webm"}
_TIMESCALED = frozenset({MP4.name, MOV.name})
_MP4_AUDIO = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac"})
# With a fourth byte per pixel the scaler takes its exact way; from three bytes it takes a coarser
# one (4 dB), and rounding accurately from there gives the same pixels in half as much time again.
_SCALED_FROM, _SCALER = "bgr0", "area"
# What the scaler can compute; everything else that stores YUV is close to BT.601.
_MATRICES = {
    "bt709": "bt709",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "gbr": "bt709",
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the encoder is told."""

    crf: int = 18  # 0 lossless .. 51; 18 is hard to tell from the source
    preset: str = "veryfast"  # of libx264; others have a middle way of their own
    threads: int = 0  # 0: as many as there are cores
    container: Container | None = None  # None: see ``output_container``
    encoder: str = X264  # as ffmpeg calls it; WebM always gets VP9


def output_container(index: VideoIndex, wanted: Container | None = None) -> Container:
    """Return the container that the result of this video gets.

    If none is wanted, MOV and Matroska stay what they are; everything else becomes MP4 where MP4
    can hold the sound and subtitles untouched, else Matroska.

    Raises:
        InvalidInputError: ``container_unsuitable``: the wanted one cannot hold a track unchanged.
    """
    if wanted is not None:
        for track in index.tracks:
            if not _holds(wanted, track):
                detail = (
                    f"{wanted.name} cannot hold the {track.codec} {track.kind} of this video "
                    "unchanged: leave container out, or choose another"
                )
                raise InvalidInputError(detail, code="container_unsuitable")
        return wanted
    subtitles = all(track.codec == "mov_text" for track in index.tracks if track.kind != "audio")
    sound = all(_holds(MP4, track) for track in index.tracks if track.kind == "audio")
    if index.container.name == MATROSKA.name or not subtitles:
        return MATROSKA
    if index.container.name == MOV.name:
        return MOV
    return MP4 if sound else MATROSKA


def _holds(container: Container, track: Track) -> bool:
    """Whether a container stores a track as it is."""
    sound, codec = track.kind == "audio", track.codec
    match container.name:
        case WEBM.name:
            return codec in ({"opus", "vorbis"} if sound else {"webvtt"})
        case MATROSKA.name:
            return sound or codec != "mov_text"
        case MOV.name if sound and codec.startswith("pcm_"):
            return True
        case _:
            return codec in _MP4_AUDIO if sound else codec == "mov_text"


def output_suffix(index: VideoIndex, wanted: Container | None = None) -> str:
    """Return the file name ending of the result, e.g. ``.mp4``."""
    return _SUFFIXES[output_container(index, wanted).name]


def video_options(index: VideoIndex, encoding: Encoding) -> dict[str, str | int]:
    """Return what makes the encoded stream what it is: the same for every part of one video."""
    return {
        **_encoder_options(index, encoding),
        "threads:v": encoding.threads,
        "fps_mode": "passthrough",
        "enc_time_base": "demux",
        "vf": _filters(index),
    }


def encoder_of(index: VideoIndex, encoding: Encoding) -> str:
    """Return the encoder that really runs: only software stores any size and any chroma."""
    if output_container(index, encoding.container) == WEBM:
        return VP9
    fits = index.width in _NVENC_WIDTHS and index.height in _NVENC_HEIGHTS
    return encoding.encoder if fits and pixel_format(index) == "yuv420p" else X264


def _encoder_options(index: VideoIndex, encoding: Encoding) -> dict[str, str | int]:
    encoder, crf = encoder_of(index, encoding), encoding.crf
    if encoder == X264:
        # Only levels and buffers follow from the mean rate; every frame keeps its own time.
        rate = Fraction(index.fps or 25).limit_denominator(1001)
        closed = f"fps={rate.numerator}/{rate.denominator}:open-gop=0"
        return {"c:v": X264, "preset": encoding.preset, "crf": crf, "x264-params": closed}
    if encoder == VP9:
        kept = {"lossless": 1} if crf == 0 else {"crf": min(63, crf + 8), "b:v": 0}
        return {**kept, "c:v": VP9, "deadline": "good", "cpu-used": 5, "row-mt": 1}
    if crf == 0:
        return {"c:v": encoder, "preset": "p4", "tune": "lossless"}
    return {"c:v": encoder, "preset": "p4", "rc": "vbr", "cq": crf, "b:v": 0}


def _filters(index: VideoIndex) -> str:
    colour = index.picture.colour
    tags = f"setparams={_tags(colour)}"
    if in_planes(index.picture, index.width, index.height):
        return tags
    full = "pc" if colour.range == "pc" else "tv"
    matrix = _MATRICES.get(colour.matrix, "smpte170m")
    scale = f"scale=out_color_matrix={matrix}:out_range={full}:flags={_SCALER}"
    return f"format={_SCALED_FROM},{scale},format={pixel_format(index)},{tags}"


def pixel_format(index: VideoIndex) -> str:
    """Return the source's subsampling where its size allows it.

    A size that is odd in either direction is stored without, since H.264 cannot halve it.
    """
    wide = index.width % 2 or (index.rotation % 180 and index.picture.subsampling == "422")
    kept = index.picture.subsampling
    if kept == "420" and not index.width % 2 and not index.height % 2:
        return "yuv420p"
    return "yuv422p" if kept == "422" and not wide else "yuv444p"


def _tags(colour: Colour) -> str:
    # RGB sources are stored as BT.709, and say so.
    matrix = "bt709" if colour.matrix == "gbr" else colour.matrix
    # Of an unknown range the encoder takes the limited one. Told so, no scaler is put before it
    # that copies every frame to say the same.
    limits = "tv" if colour.range == UNKNOWN else colour.range
    named = {
        "range": limits,
        "colorspace": matrix,
        "color_primaries": colour.primaries,
        "color_trc": colour.transfer,
    }
    return ":".join(f"{name}={value}" for name, value in named.items())


def rewriting(
    index: VideoIndex, encoding: Encoding, first_pts: int, segment: Segment | None = None
) -> str:
    """Return the filters of the encoded packets, whose clock starts with 0 at ``first_pts``."""
    limited = index.picture.colour.range == "tv" and encoder_of(index, encoding) != VP9
    # The encoder leaves out what is the default anyway; an explicit limited range is kept.
    said = ["h264_metadata=video_full_range_flag=0"] if limited else []
    return ",".join([*said, retiming(index, first_pts, segment)])


def retiming(index: VideoIndex, first_pts: int, segment: Segment | None = None) -> str:
    """Move the stream back to its start and give the last frame the length it had.

    Every packet is given that length: a muxer takes those of all others from the times of the
    next, and the last packet of a file need not be the last frame that is shown.
    """
    end = segment.end_pts if segment else None
    if end is None:
        end = index.pts[-1] + index.last_duration
    last = index.pts[bisect_left(index.pts, end) - 1]
    return f"setts=pts=PTS+({first_pts}):dts=DTS+({first_pts}):duration={end - last}"


def copy_options(index: VideoIndex) -> dict[str, str]:
    """Return what carries sound, subtitles and chapters over as they are."""
    languages = {
        f"metadata:s:{place}": f"language={track.language}"
        for place, track in enumerate(index.tracks, start=1)
        if track.language
    }
    # Descriptions may hold places and names; only what a player needs is carried over: languages,
    # and chapters with the titles it shows.
    there = index.tracks or index.has_chapters
    copied = {"c:a": "copy", "c:s": "copy", "map_chapters": "1"} if there else {}
    dropped = {"map_metadata:g": "-1", "map_metadata:s": "-1"}
    return {**copied, **dropped, **languages, "disposition:v:0": "default"}


def file_options(index: VideoIndex, encoding: Encoding) -> dict[str, str | int | None]:
    """Return what makes the written file what it is."""
    container = output_container(index, encoding.container)
    options: dict[str, str | int | None] = {
        "f": _MUXERS[container.name],
        **timestamps(index.container),
    }
    if container.name in _TIMESCALED:
        options |= {"movflags": "+faststart", **clock(index)}
    return options


def part_options(index: VideoIndex) -> dict[str, str | int | None]:
    """Return the same for one part of a video, which is MP4 whatever the whole becomes."""
    scale = clock(index)
    # A part begins where it belongs, which only an edit list of the same clock says exactly.
    exact = {"movie_timescale": scale["video_track_timescale"]}
    return {"f": "mp4", **timestamps(index.container), **scale, **exact, "map_metadata": "-1"}


def clock(index: VideoIndex) -> dict[str, int]:
    """Keep the source's ticks."""
    return {"video_track_timescale": index.time_base.denominator}
