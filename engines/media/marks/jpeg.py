"""JPEG: an APP1 segment with XMP, behind JFIF and EXIF, which readers expect first."""

from collections.abc import Iterator
from typing import BinaryIO

from engines.media.marks.mark import Found, Mark
from engines.media.marks.splice import splice
from engines.media.marks.xmp import packet

_SEGMENT_MAX = 65_533  # what two bytes of length can count, less themselves
_APP0, _APP1, _SCAN, _MARK = 0xE0, 0xE1, 0xDA, 0xFF
_XMP, _EXIF = b"http://ns.adobe.com/xap/1.0/\0", b"Exif\0\0"


def write(stream: BinaryIO, mark: Mark) -> None:
    """Put the segment into a JPEG, instead of one that is there."""
    place, removed = 2, 0
    for at, marker, size, start in _segments(stream):
        if marker == _APP1 and start.startswith(_XMP):
            place, removed = at, size
            break
        if marker == _APP0 or (marker == _APP1 and start.startswith(_EXIF)):
            place = at + size
    xmp = packet(mark, read(stream).xmp)
    if len(_XMP + xmp) > _SEGMENT_MAX:  # a packet that fills its segment alone gives way
        xmp = packet(mark)
    content = _XMP + xmp
    segment = bytes((_MARK, _APP1)) + (len(content) + 2).to_bytes(2, "big") + content
    splice(stream, place, removed, segment)


def read(stream: BinaryIO) -> Found:
    """What the first XMP segment says."""
    for at, marker, size, start in _segments(stream):
        if marker == _APP1 and start.startswith(_XMP):
            stream.seek(at + 4 + len(_XMP))
            return Found(xmp=stream.read(size - 4 - len(_XMP)))
    return Found()


def _segments(stream: BinaryIO) -> Iterator[tuple[int, int, int, bytes]]:
    """Place, marker, whole size and first bytes of the segments before the picture."""
    at = 2
    while True:
        stream.seek(at)
        head = stream.read(4 + len(_XMP))
        if len(head) < 4 or head[0] != _MARK or head[1] == _SCAN:  # noqa: PLR2004 - marker and length
            return
        size = 2 + int.from_bytes(head[2:4], "big")
        yield at, head[1], size, head[4:]
        at += size
