"""ffmpeg's ``framecrc`` table: one line per packet with exact integer timestamps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

NO_TIMESTAMP = -(1 << 63)
# How a run prints it: without the second option every line is a turn between two processes.
PRINTED: dict[str, str | int] = {"f": "framecrc", "flush_packets": 0}
_KEY, _DISCARD = 1, 4  # flags of a packet; the table leaves them out where they are just 1


@dataclass(frozen=True, slots=True)
class Packet:
    """One line of the table; times are in ticks of the stream's time base."""

    stream: int
    dts: int
    pts: int
    duration: int
    size: int  # bytes
    checksum: str
    discard: bool  # an edit list cuts it away after decoding
    key: bool = True  # decoding can begin here


@dataclass(slots=True)
class Table:
    """The facts before the packets; complete once the first packet was yielded."""

    time_bases: dict[int, Fraction] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # width, height
    sample_aspects: dict[int, Fraction] = field(default_factory=dict)  # absent: unknown
    codecs: dict[int, str] = field(default_factory=dict)
    extradata: dict[int, str] = field(default_factory=dict)  # size and checksum

    def read(self, lines: Iterable[bytes]) -> Iterator[Packet]:
        """Yield packets in the order of the file, collecting the header lines on the way."""
        for raw in lines:
            line = raw.decode("ascii", "replace").strip()
            if line.startswith("#"):
                self._header(line)
            elif line:
                yield _packet(line)

    def _header(self, line: str) -> None:
        name, _, value = line[1:].partition(": ")
        what, _, stream = name.partition(" ")
        if not stream.isdigit():
            return
        match what:
            case "tb":
                self.time_bases[int(stream)] = Fraction(value)
            case "dimensions":
                width, height = value.split("x")
                self.sizes[int(stream)] = (int(width), int(height))
            case "sar":
                above, below = (int(part) for part in value.split("/"))
                if above > 0 and below > 0:
                    self.sample_aspects[int(stream)] = Fraction(above, below)
            case "extradata":
                self.extradata[int(stream)] = value
            case "codec_id":
                self.codecs[int(stream)] = value


def _packet(line: str) -> Packet:
    fields = [part.strip() for part in line.split(",")]
    stream, dts, pts, duration, size = (_integer(part) for part in fields[:5])
    flags = next((int(part[2:], 16) for part in fields[6:] if part.startswith("F=")), _KEY)
    discard, key = bool(flags & _DISCARD), bool(flags & _KEY)
    return Packet(stream, dts, pts, duration, size, fields[5], discard, key)


def _integer(text: str) -> int:
    return NO_TIMESTAMP if text == "NOPTS" else int(text)
