"""Raw pictures with exact timestamps in a pipe: the smallest useful NUT writer.

A rawvideo pipe knows only a constant rate, so a variable-rate clip drifts. NUT carries one integer
timestamp per frame in any rational time base, which is what an encoder needs to keep every frame
at its tick. One stream, key frames only, a sync point before each frame.
The format: https://ffmpeg.org/~michael/nut.txt (version 3).
"""

from dataclasses import dataclass
from fractions import Fraction

_FILE_ID = b"nut/multimedia container\0"
_MAIN = b"NM\x7a\x56\x1f\x5f\x04\xad"
_STREAM = b"NS\x11\x40\x5b\xf2\xf9\xdb"
_SYNCPOINT = b"NK\xe4\xad\xee\xca\x45\x69"

_KEY, _CODED_PTS, _SIZE_MSB, _CHECKSUM, _INVALID = 1, 8, 32, 64, 8192
_LONG_PACKET = 4096  # above this a packet header carries its own checksum; ours stay below


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        table.append(crc & 0xFFFFFFFF)
    return tuple(table)


_CRC = _crc_table()


def checksum(data: bytes) -> bytes:
    """Return the CRC-32 of NUT (polynomial 04C11DB7, most significant bit first) as four bytes."""
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC[(crc >> 24) ^ byte]
    return crc.to_bytes(4, "big")


def number(value: int) -> bytes:
    """Return ``value`` >= 0 in groups of seven bits, most significant first."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | (value & 0x7F))
    return bytes(reversed(groups))


def _packet(startcode: bytes, payload: bytes) -> bytes:
    size = len(payload) + 4
    if size > _LONG_PACKET:
        raise ValueError("a NUT header packet of ours never grows this long")
    return startcode + number(size) + payload + checksum(payload)


@dataclass(frozen=True, slots=True)
class RawPictures:
    """A stream of packed BGR pictures, 8 bits per channel, or of planes (4:2:0).

    ``time_base`` is the length of one tick in seconds. ``sample_aspect`` is the shape of one
    pixel (width over height), ``None`` if unknown.
    """

    width: int
    height: int
    time_base: Fraction
    sample_aspect: Fraction | None = None
    planes: bool = False

    def header(self) -> bytes:
        """Return what comes before the first frame."""
        return _FILE_ID + _packet(_MAIN, self._main()) + _packet(_STREAM, self._stream())

    def frame_header(self, pts: int) -> bytes:
        """Return what comes before the pixels of a frame at ``pts`` >= 0 ticks."""
        if pts < 0:
            raise ValueError("NUT has no negative timestamps: shift the stream")
        sync = _packet(_SYNCPOINT, number(pts) + number(0))
        # Frame code 0; timestamps are absolute, hence the + 1 (one more than 1 << msb_pts_shift).
        head = b"\0" + number(pts + 1) + number(self._bytes)
        return sync + head + checksum(head)

    @property
    def _bytes(self) -> int:
        pixels = self.width * self.height
        return pixels * 3 // 2 if self.planes else pixels * 3

    def _main(self) -> bytes:
        base = self.time_base
        head = b"".join(map(number, (3, 1, 65536, 1, base.numerator, base.denominator)))
        # Two entries of the frame code table: code 0 is every frame, all other codes are invalid.
        # Fields: flags, how many follow, pts, size multiplier, stream, size, reserved, count.
        usual = _KEY | _CODED_PTS | _SIZE_MSB | _CHECKSUM
        first = b"".join(map(number, (usual, 6, 0, 1, 0, 0, 0, 1)))
        rest = b"".join(map(number, (_INVALID, 6, 0, 1, 0, 0, 0, 254)))
        return head + first + rest + number(0)

    def _stream(self) -> bytes:
        aspect = self.sample_aspect
        sample = (aspect.numerator, aspect.denominator) if aspect else (0, 0)
        start = b"".join(map(number, (0, 0, 4))) + (b"I420" if self.planes else b"BGR\x18")
        # Time base 0, absolute timestamps, any distance between frames, no reordering, no flags.
        middle = b"".join(map(number, (0, 0, 1 << 30, 0, 0, 0)))
        return start + middle + b"".join(map(number, (self.width, self.height, *sample, 0)))
