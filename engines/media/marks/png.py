"""PNG: an ``iTXt`` chunk with XMP and a ``tEXt`` chunk ``AIGC``, right behind the header."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from engines.media.marks.mark import PACKET_BYTES_MAX, Found, Mark
from engines.media.marks.splice import splice
from engines.media.marks.xmp import packet

_SIGNATURE_BYTES, _FRAME_BYTES = 8, 12  # of a chunk: length, kind and checksum
_HEADER_END = 33  # signature and IHDR, which is always first
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_PLAIN = b"\0\0\0\0"  # not compressed, no language, no translated keyword
_AIGC_KEYWORD = b"AIGC\0"


def write(stream: BinaryIO, mark: Mark) -> None:
    """Put both chunks into a PNG; chunks that say the same about it go."""
    found = read(stream)
    old = [
        (at, size)
        for at, kind, size in _chunks(stream)
        if _says(stream, at, kind, b"iTXt", _XMP_KEYWORD)
        or _says(stream, at, kind, b"tEXt", _AIGC_KEYWORD)
    ]
    for at, size in reversed(old):
        splice(stream, at, size, b"")
    xmp = _chunk(b"iTXt", _XMP_KEYWORD + _PLAIN + packet(mark, found.xmp))
    splice(stream, _HEADER_END, 0, xmp + _chunk(b"tEXt", _AIGC_KEYWORD + mark.aigc.encode("ascii")))


def read(stream: BinaryIO) -> Found:
    """What the chunks say; compressed XMP is not looked into."""
    aigc = xmp = None
    for at, kind, size in _chunks(stream):
        if size - _FRAME_BYTES > PACKET_BYTES_MAX:
            continue
        if _says(stream, at, kind, b"iTXt", _XMP_KEYWORD + _PLAIN):
            xmp = _content(stream, at, size)[len(_XMP_KEYWORD + _PLAIN) :]
        elif _says(stream, at, kind, b"tEXt", _AIGC_KEYWORD):
            aigc = _content(stream, at, size)[len(_AIGC_KEYWORD) :].decode("latin-1")
    return Found(aigc=aigc, xmp=xmp)


def _chunks(stream: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Place, kind and whole size of each chunk before the last."""
    at = _SIGNATURE_BYTES
    while True:
        stream.seek(at)
        head = stream.read(8)
        kind = head[4:8]
        if len(head) < 8 or kind == b"IEND":  # noqa: PLR2004 - length and kind
            return
        size = int.from_bytes(head[:4], "big") + _FRAME_BYTES
        yield at, kind, size
        at += size


def _says(stream: BinaryIO, at: int, kind: bytes, wanted: bytes, keyword: bytes) -> bool:
    if kind != wanted:
        return False
    stream.seek(at + 8)
    return stream.read(len(keyword)) == keyword


def _content(stream: BinaryIO, at: int, size: int) -> bytes:
    stream.seek(at + 8)
    return stream.read(size - _FRAME_BYTES)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + checksum
