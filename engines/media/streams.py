"""What ffmpeg says about the streams of a file, read from its description lines.

Only facts that change how pixels look are taken from here (pixel format, colour, rotation, audio
codecs). Sizes, counts and times come from tables that a file cannot write into: a title can
contain anything, also a line that looks like a stream.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_STREAM = re.compile(r"^(?:\[info\] )?  Stream #0:(\d+)(?:\[0x[0-9a-f]+\])?(?:\((\w+)\))?: (.*)$")
_CHAPTER = re.compile(r"^(?:\[info\] )?    Chapter #0:\d+: start ")
_KIND = re.compile(r"(Video|Audio|Subtitle|Data|Attachment): ([\w.]+)")
_PIXELS = re.compile(r", ([a-z][a-z0-9_]*)(?:\((.*?)\))?, (\d+)x(\d+)")
_ROTATION = re.compile(r"Display Matrix: rotation of (-?\d+(?:\.\d+)?) degrees")
_DEPTH = re.compile(r"(?:p|gray|gbrp|gbrap|y|v|x2rgb|x2bgr|p0)(9|10|12|14|16)(?:le|be)")
_MATRICES = frozenset(
    {"gbr", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "ycgco", "bt2020nc", "bt2020c"}
    | {"smpte2085", "chroma-derived-nc", "chroma-derived-c", "ictcp"}
)
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Colour:
    """How numbers become light; ``unknown`` where the file does not say."""

    range: str = UNKNOWN  # tv | pc
    matrix: str = UNKNOWN
    primaries: str = UNKNOWN
    transfer: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Picture:
    """The format of the chosen video stream."""

    pixel_format: str  # as ffmpeg calls it; none: not known before decoding
    colour: Colour
    field_order: str  # progressive | top first | bottom first | ... | unknown

    @property
    def bit_depth(self) -> int:
        """Bits per channel."""
        name = self.pixel_format
        if found := re.match(r"p[024](10|12|16)", name):  # p010le and its family
            return int(found[1])
        found = _DEPTH.search(name)
        return int(found[1]) if found else 8

    @property
    def subsampling(self) -> str:
        """How chroma is stored: 420, 422 or 444 (also for RGB); 420 for what is rarer."""
        found = re.search(r"4(20|22|44)", self.pixel_format)
        if found:
            return f"4{found[1]}"
        if re.match(r"yuyv|uyvy|yvyu|p2|nv16|y210", self.pixel_format):
            return "422"
        return "444" if re.match(r"gbr|rgb|bgr|argb|abgr|x2", self.pixel_format) else "420"

    @property
    def has_alpha(self) -> bool:
        """Whether the stream itself carries transparency."""
        return bool(re.match(r"yuva|gbrap|rgba|bgra|argb|abgr|ya8|ya16", self.pixel_format))


@dataclass(frozen=True, slots=True)
class Track:
    """A stream that is copied along: sound or subtitles."""

    position: int  # among all streams of the file
    kind: str  # audio | subtitle
    codec: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that was read."""

    streams: int
    picture: Picture | None  # None: no stream with moving pictures
    rotation: int  # degrees that were applied clockwise to show the picture upright
    tracks: tuple[Track, ...]
    has_chapters: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    position: int
    language: str | None
    kind: str
    codec: str
    text: str
    rotation: int


def describe(lines: Iterable[str]) -> Description:
    """Read the description of input 0 from ffmpeg's first messages."""
    lines = list(lines)
    found = list(_streams(lines))
    moving = [line for line in found if line.kind == "Video" and "(attached pic)" not in line.text]
    tracks = tuple(
        Track(line.position, line.kind.lower(), line.codec, line.language)
        for line in found
        if line.kind in {"Audio", "Subtitle"}
    )
    picture = _picture(moving[0].text) if moving else None
    chapters = any(_CHAPTER.match(line) for line in lines)
    rotation = moving[0].rotation if moving else 0
    return Description(len(found), picture, rotation, tracks, chapters)


def _streams(lines: Iterable[str]) -> Iterable[_Line]:
    current: _Line | None = None
    for line in lines:
        if "Stream mapping:" in line or "Output #" in line:
            break
        if started := _STREAM.match(line):
            if current:
                yield current
            current = _stream(started)
        elif current and (turned := _ROTATION.search(line)):
            # ffmpeg counts counter-clockwise; a picture marked -90 is shown turned clockwise.
            degrees = -round(float(turned[1])) % 360
            current = _Line(
                current.position,
                current.language,
                current.kind,
                current.codec,
                current.text,
                degrees,
            )
    if current:
        yield current


def _stream(started: re.Match[str]) -> _Line:
    kind = _KIND.search(started[3])
    language = None if started[2] in {None, "und"} else started[2]
    name, codec = (kind[1], kind[2]) if kind else ("Unknown", "unknown")
    return _Line(int(started[1]), language, name, codec, started[3], 0)


def _picture(text: str) -> Picture:
    found = _PIXELS.search(text)
    if not found:
        return Picture("none", Colour(), UNKNOWN)
    name, notes = found[1], (found[2] or "").split(", ")
    colours = next((note for note in notes if _is_colour(note)), UNKNOWN)
    matrix, _, rest = colours.partition("/")
    primaries, _, transfer = rest.partition("/") if rest else (matrix, "", matrix)
    full = "pc" in notes or name.startswith("yuvj")
    limits = "pc" if full else ("tv" if "tv" in notes else UNKNOWN)
    order = next((note for note in notes if note == "progressive" or " first" in note), UNKNOWN)
    return Picture(name, Colour(limits, matrix, primaries, transfer), order)


def _is_colour(note: str) -> bool:
    return "/" in note or note in _MATRICES
