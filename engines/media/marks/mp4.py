"""MP4 and MOV: the key ``AIGC`` in ``moov/meta`` and XMP in a ``uuid`` box behind ``moov``.

What stands behind ``moov`` moves, so the places of samples in ``stco`` and ``co64`` move too. A
fragmented file counts places in more ways: it gets XMP at its end, which says both.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

from engines.errors import EngineFaultError
from engines.media.marks.mark import PACKET_BYTES_MAX, Found, Mark
from engines.media.marks.splice import splice
from engines.media.marks.xmp import packet

_XMP_ID = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
_KEY = b"AIGC"
_NESTING = frozenset({b"trak", b"mdia", b"minf", b"stbl"})
_OFFSETS = {b"stco": "L", b"co64": "Q"}
_MOVIE_BYTES_MAX = 256 << 20
_BOXES_MAX = 20_000
_UTF8 = 1  # the type of a value in an item list


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    body: int
    end: int


def write(stream: BinaryIO, mark: Mark) -> None:
    """Say it in both places, instead of what was said there."""
    boxes = list(_boxes(stream, 0, stream.seek(0, 2)))
    xmp = _box(b"uuid", _XMP_ID + packet(mark, read(stream).xmp))
    place = next((index for index, box in enumerate(boxes) if box.kind == b"moov"), None)
    if place is None or boxes[place].end - boxes[place].body > _MOVIE_BYTES_MAX:
        raise EngineFaultError("the written video has no index")
    if any(box.kind in {b"moof", b"sidx"} for box in boxes):
        stream.seek(0, 2)
        stream.write(xmp)
        return
    movie = boxes[place]
    stream.seek(movie.body)
    content = stream.read(movie.end - movie.body)
    kept = b"".join(
        content[box.start : box.end]
        for box in _inside(content, 0, len(content))
        if not _holds_aigc(content, box)
    )
    end = movie.end
    if place + 1 < len(boxes) and _is_xmp(stream, boxes[place + 1]):
        end = boxes[place + 1].end
    meta = _meta(mark.aigc)
    length = 8 + len(kept) + len(meta) + len(xmp)
    moved = _shifted(kept, behind=end, by=length - (end - movie.start))
    splice(stream, movie.start, end - movie.start, _box(b"moov", moved + meta) + xmp)


def read(stream: BinaryIO) -> Found:
    """What ``moov/meta`` and the XMP box say."""
    aigc = xmp = None
    for box in _boxes(stream, 0, stream.seek(0, 2)):
        if box.kind == b"moov" and box.end - box.body <= _MOVIE_BYTES_MAX:
            stream.seek(box.body)
            aigc = _aigc(stream.read(box.end - box.body))
        elif _is_xmp(stream, box) and box.end - box.body <= PACKET_BYTES_MAX:
            stream.seek(box.body + len(_XMP_ID))
            xmp = stream.read(box.end - box.body - len(_XMP_ID))
    return Found(aigc=aigc, xmp=xmp)


def _is_xmp(stream: BinaryIO, box: _Box) -> bool:
    if box.kind != b"uuid":
        return False
    stream.seek(box.body)
    return stream.read(len(_XMP_ID)) == _XMP_ID


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    for _ in range(_BOXES_MAX):
        stream.seek(start)
        head = stream.read(16)
        box = _box_at(head, start, end)
        if box is None:
            return
        yield box
        start = box.end


def _box_at(head: bytes, start: int, end: int) -> _Box | None:
    """The box whose first 16 bytes these are; None at the end and for what is no box."""
    if len(head) < 8:  # noqa: PLR2004 - size and kind
        return None
    size, body = int.from_bytes(head[:4], "big"), start + 8
    if size == 1:
        size, body = int.from_bytes(head[8:16], "big"), start + 16
    size = size or end - start
    if size < body - start or start + size > end:
        return None
    return _Box(head[4:8], start, body, start + size)


def _inside(content: bytes, start: int, end: int) -> Iterator[_Box]:
    while (box := _box_at(content[start : min(start + 16, end)], start, end)) is not None:
        yield box
        start = box.end


def _shifted(content: bytes, *, behind: int, by: int) -> bytes:
    """The index with every sample behind ``behind`` moved by ``by`` bytes."""
    moved = bytearray(content)
    waiting = list(_inside(content, 0, len(content)))
    while waiting:
        box = waiting.pop()
        if box.kind in _NESTING:
            waiting.extend(_inside(content, box.body, box.end))
        elif box.kind in _OFFSETS:
            count = int.from_bytes(content[box.body + 4 : box.body + 8], "big")
            form = f">{count}{_OFFSETS[box.kind]}"
            places = struct.unpack_from(form, content, box.body + 8)
            new = [place + by if place >= behind else place for place in places]
            try:
                struct.pack_into(form, moved, box.body + 8, *new)
            except struct.error:
                raise EngineFaultError("the written video is too long for its index") from None
    return bytes(moved)


def _aigc(movie: bytes) -> str | None:
    """The value of the key ``AIGC`` among the metadata of a ``moov``."""
    for meta in _inside(movie, 0, len(movie)):
        for name, value in _items(movie, meta):
            if name == _KEY:
                return value.decode("utf-8", "replace")
    return None


def _holds_aigc(movie: bytes, box: _Box) -> bool:
    return any(name == _KEY for name, _ in _items(movie, box))


def _items(movie: bytes, meta: _Box) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a ``meta`` box whose items are named by keys; of another box none."""
    if meta.kind != b"meta":
        return
    # QuickTime's has no version, ISO's has; a size before "hdlr" tells them apart
    body = meta.body if movie[meta.body + 4 : meta.body + 8] == b"hdlr" else meta.body + 4
    parts = {box.kind: box for box in _inside(movie, body, meta.end)}
    if b"keys" not in parts or b"ilst" not in parts:
        return
    keys = _inside(movie, parts[b"keys"].body + 8, parts[b"keys"].end)
    names = [movie[key.body : key.end] for key in keys]
    for item in _inside(movie, parts[b"ilst"].body, parts[b"ilst"].end):
        number = int.from_bytes(item.kind, "big")
        if 0 < number <= len(names):
            yield names[number - 1], movie[item.body + 16 : item.end]


def _meta(aigc: str) -> bytes:
    """Metadata with one key, in QuickTime's form; MP4 readers take it too."""
    handler = _box(b"hdlr", bytes(8) + b"mdta" + bytes(13))
    key = _box(b"mdta", _KEY)
    keys = _box(b"keys", bytes(4) + (1).to_bytes(4, "big") + key)
    data = _box(b"data", _UTF8.to_bytes(4, "big") + bytes(4) + aigc.encode("ascii"))
    items = _box(b"ilst", _box((1).to_bytes(4, "big"), data))
    return _box(b"meta", handler + keys + items)


def _box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content
