"""Bytes put into the middle of a file, in place: a second copy of a long video is never made."""

from typing import BinaryIO

_BLOCK_BYTES = 1 << 20


def splice(stream: BinaryIO, at: int, removed: int, data: bytes) -> None:
    """Replace ``removed`` bytes at ``at`` by ``data`` in a file open for reading and writing."""
    end = stream.seek(0, 2)
    shift = len(data) - removed
    if shift:
        _move(stream, at + removed, end, shift)
    stream.seek(at)
    stream.write(data)
    if shift < 0:
        stream.truncate(end + shift)


def _move(stream: BinaryIO, start: int, end: int, shift: int) -> None:
    """Move [start, end) by ``shift``, beginning at the side that is free."""
    places = range(start, end, _BLOCK_BYTES)
    for place in reversed(places) if shift > 0 else places:
        stream.seek(place)
        block = stream.read(min(_BLOCK_BYTES, end - place))
        stream.seek(place + shift)
        stream.write(block)
