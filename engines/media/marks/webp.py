"""WebP: an ``XMP`` chunk at the end, announced by the extended header that a plain file lacks."""

from collections.abc import Iterator
from typing import BinaryIO

from engines.errors import EngineFaultError
from engines.media.marks.mark import PACKET_BYTES_MAX, Found, Mark
from engines.media.marks.splice import splice
from engines.media.marks.xmp import packet

_FIRST = 12  # the first chunk follows RIFF, a size and WEBP
_HAS_XMP, _HAS_ALPHA = 0x04, 0x10
_LOSSY, _LOSSLESS, _EXTENDED, _XMP = b"VP8 ", b"VP8L", b"VP8X", b"XMP "
_LOSSY_SIZE = 6  # of a key frame: behind its tag and start code stand two sides of 14 bits
_SIDE = (1 << 14) - 1


def write(stream: BinaryIO, mark: Mark) -> None:
    """Put the chunk into a WebP, instead of one that is there."""
    earlier = read(stream).xmp
    for at, kind, size in reversed(list(_chunks(stream))):
        if kind == _XMP:
            splice(stream, at, size, b"")
    _announce(stream)
    end = max(at + size for at, _, size in _chunks(stream))
    splice(stream, end, 0, _chunk(_XMP, packet(mark, earlier)))
    length = stream.seek(0, 2) - 8
    stream.seek(4)
    stream.write(length.to_bytes(4, "little"))


def read(stream: BinaryIO) -> Found:
    """What the XMP chunk says."""
    for at, kind, size in _chunks(stream):
        if kind == _XMP and size <= PACKET_BYTES_MAX:
            stream.seek(at + 4)
            length = int.from_bytes(stream.read(4), "little")
            return Found(xmp=stream.read(length))
    return Found()


def _announce(stream: BinaryIO) -> None:
    """Say in the extended header that XMP follows; write that header where there is none."""
    at, kind, _ = next(_chunks(stream))
    stream.seek(at + 8)
    if kind == _EXTENDED:
        (flags,) = stream.read(1)
        stream.seek(at + 8)
        stream.write(bytes((flags | _HAS_XMP,)))
        return
    start = stream.read(10)
    if kind == _LOSSY:
        sides = start[_LOSSY_SIZE:]
        width = int.from_bytes(sides[:2], "little") & _SIDE
        height = int.from_bytes(sides[2:4], "little") & _SIDE
        flags = _HAS_XMP
    elif kind == _LOSSLESS:
        bits = int.from_bytes(start[1:5], "little")  # behind a signature byte
        width, height = (bits & _SIDE) + 1, (bits >> 14 & _SIDE) + 1
        flags = _HAS_XMP | (_HAS_ALPHA if bits >> 28 & 1 else 0)
    else:
        raise EngineFaultError("the written WebP begins with no picture")
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    splice(stream, _FIRST, 0, _chunk(_EXTENDED, bytes((flags, 0, 0, 0)) + sides))


def _chunks(stream: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Place, kind and whole size, with padding, of each chunk."""
    end = stream.seek(0, 2)
    at = _FIRST
    while at + 8 <= end:
        stream.seek(at)
        head = stream.read(8)
        length = int.from_bytes(head[4:], "little")
        yield at, head[:4], min(8 + length + length % 2, end - at)
        at += 8 + length + length % 2


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)
