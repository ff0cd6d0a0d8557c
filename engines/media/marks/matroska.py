"""Matroska and WebM: tags ``AIGC`` and ``DIGITAL_SOURCE_TYPE`` at the end, named in the seek head.

Nothing moves: the seek head grows into the void that writers leave behind it.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from engines.errors import EngineFaultError
from engines.media.marks.mark import PACKET_BYTES_MAX, Found, Mark

_SEGMENT, _SEEK_HEAD, _TAGS = b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\x12\x54\xc3\x67"
_SEEK, _SEEK_ID, _SEEK_AT = b"\x4d\xbb", b"\x53\xab", b"\x53\xac"
_TAG, _TARGETS, _SIMPLE = b"\x73\x73", b"\x63\xc0", b"\x67\xc8"
_NAME, _TEXT = b"\x45\xa3", b"\x44\x87"
_VOID, _CHECKSUM = b"\xec", b"\xbf"
_AIGC, _SOURCE_TYPE = "AIGC", "DIGITAL_SOURCE_TYPE"
_ELEMENTS_MAX = 200_000
_WIDE = 8  # bytes of a size as it is written here


@dataclass(frozen=True, slots=True)
class _Element:
    kind: bytes
    start: int
    body: int
    end: int
    is_open: bool = False  # of unknown size: up to the end


def write(stream: BinaryIO, mark: Mark) -> None:
    """Append the tags and tell the seek head and the segment of them."""
    end = stream.seek(0, 2)
    segment = next((each for each in _elements(stream, 0, end) if each.kind == _SEGMENT), None)
    if segment is None or segment.end != end:
        raise EngineFaultError("the written video is no whole Matroska file")
    tags = _tags({_AIGC: mark.aigc, _SOURCE_TYPE: mark.source_type})
    _announce(stream, segment, at=end - segment.body)
    stream.seek(end)
    stream.write(tags)
    if not segment.is_open:
        _resize(stream, segment, end + len(tags) - segment.body)


def read(stream: BinaryIO) -> Found:
    """What the last tags of these names say."""
    said: dict[str, str] = {}
    end = stream.seek(0, 2)
    for segment in _elements(stream, 0, end):
        if segment.kind != _SEGMENT:
            continue
        for tags in _elements(stream, segment.body, segment.end):
            if tags.kind == _TAGS and tags.end - tags.body <= PACKET_BYTES_MAX:
                said |= _said(stream, tags)
    return Found(aigc=said.get(_AIGC), source_type=said.get(_SOURCE_TYPE))


def _said(stream: BinaryIO, tags: _Element) -> dict[str, str]:
    found = {}
    for tag in _elements(stream, tags.body, tags.end):
        for simple in _elements(stream, tag.body, tag.end):
            if simple.kind != _SIMPLE:
                continue
            texts = {each.kind: each for each in _elements(stream, simple.body, simple.end)}
            if _NAME in texts and _TEXT in texts:
                found[_text(stream, texts[_NAME])] = _text(stream, texts[_TEXT])
    return found


def _text(stream: BinaryIO, element: _Element) -> str:
    stream.seek(element.body)
    return stream.read(element.end - element.body).decode("utf-8", "replace")


def _announce(stream: BinaryIO, segment: _Element, *, at: int) -> None:
    """Add a line to the seek head, at the cost of the void behind it; without one, nothing."""
    first = list(zip(range(2), _elements(stream, segment.body, segment.end), strict=False))
    if [element.kind for _, element in first] != [_SEEK_HEAD, _VOID]:
        return
    head, void = first[0][1], first[1][1]
    stream.seek(head.body)
    lines = stream.read(head.end - head.body)
    if lines.startswith(_CHECKSUM):
        lines = lines[6:]  # its size is one byte, its value four
    place = _element(_SEEK_AT, at.to_bytes(_WIDE, "big"))
    lines += _element(_SEEK, _element(_SEEK_ID, _TAGS) + place)
    checked = _CHECKSUM + b"\x84" + zlib.crc32(lines).to_bytes(4, "little") + lines
    grown = _element(_SEEK_HEAD, checked)
    left = void.end - head.start - len(grown) - len(_VOID) - _WIDE
    if left < 0:
        return
    stream.seek(head.start)
    stream.write(grown + _VOID + _size(left) + bytes(left))


def _resize(stream: BinaryIO, element: _Element, length: int) -> None:
    """Write another length into the bytes that an element has for it."""
    width = element.body - element.start - len(element.kind)
    if length >= (1 << 7 * width) - 1:
        raise EngineFaultError("the written video leaves no room for its marks")
    stream.seek(element.start + len(element.kind))
    stream.write((length | 1 << 7 * width).to_bytes(width, "big"))


def _elements(stream: BinaryIO, start: int, end: int) -> Iterator[_Element]:
    for _ in range(_ELEMENTS_MAX):
        if start >= end:
            return
        stream.seek(start)
        head = stream.read(12)
        kind = head[: _width(head[:1])]
        size = head[len(kind) :]
        width = _width(size[:1])
        if not kind or not width or len(size) < width:
            return
        length = int.from_bytes(size[:width], "big") & ((1 << 7 * width) - 1)
        body = start + len(kind) + width
        is_open = length == (1 << 7 * width) - 1
        stop = end if is_open else body + length
        if stop > end:
            return
        yield _Element(kind, start, body, stop, is_open)
        start = stop


def _width(first: bytes) -> int:
    """How many bytes a number has that begins like this; 0: none."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _tags(values: dict[str, str]) -> bytes:
    simple = b"".join(
        _element(_SIMPLE, _element(_NAME, name.encode()) + _element(_TEXT, text.encode()))
        for name, text in values.items()
    )
    return _element(_TAGS, _element(_TAG, _element(_TARGETS, b"") + simple))


def _element(kind: bytes, content: bytes) -> bytes:
    return kind + _size(len(content)) + content


def _size(length: int) -> bytes:
    return (length | 1 << 7 * _WIDE).to_bytes(_WIDE, "big")
