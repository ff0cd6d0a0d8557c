"""TIFF: tag 700, XMP, in a new first directory behind the end of the file."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from engines.errors import EngineFaultError
from engines.media.marks.mark import PACKET_BYTES_MAX, Found, Mark
from engines.media.marks.xmp import packet

_XMP_TAG, _BYTE, _UNDEFINED = 700, 1, 7
_POINTER_AT = 4  # of the header, to the first directory
_ENTRY = "HHLL"  # tag, type, number of values, value or its place
_ENTRY_BYTES, _PLACE_BYTES = 12, 4


@dataclass(frozen=True, slots=True)
class _Directory:
    order: str  # of bytes: < or >
    entries: list[tuple[int, bytes]]  # tag, the entry as it stands
    following: int  # place of the next directory; 0: none

    def pack(self, form: str, *values: int) -> bytes:
        return struct.pack(self.order + form, *values)


def write(stream: BinaryIO, mark: Mark) -> None:
    """Say it of the first page; strips and all other directories stay where they are."""
    earlier = read(stream).xmp
    directory = _directory(stream)
    if directory is None:
        raise EngineFaultError("the written TIFF has no directory")
    xmp = packet(mark, earlier)
    at = stream.seek(0, 2)
    stream.write(bytes(at % 2))  # directories begin at even places
    at += at % 2
    # the directory, then the packet it points to
    others = [(tag, entry) for tag, entry in directory.entries if tag != _XMP_TAG]
    behind = at + 2 + (len(others) + 1) * _ENTRY_BYTES + _PLACE_BYTES
    ours = directory.pack(_ENTRY, _XMP_TAG, _BYTE, len(xmp), behind)
    entries = sorted([*others, (_XMP_TAG, ours)])
    stream.write(directory.pack("H", len(entries)))
    stream.write(b"".join(entry for _, entry in entries))
    stream.write(directory.pack("L", directory.following) + xmp)
    stream.seek(_POINTER_AT)
    stream.write(directory.pack("L", at))


def read(stream: BinaryIO) -> Found:
    """What tag 700 of the first page says."""
    directory = _directory(stream)
    if directory is None:
        return Found()
    for tag, entry in directory.entries:
        _, kind, count, place = struct.unpack(f"{directory.order}{_ENTRY}", entry)
        is_packet = tag == _XMP_TAG and kind in {_BYTE, _UNDEFINED}
        if is_packet and _PLACE_BYTES < count <= PACKET_BYTES_MAX:
            stream.seek(place)
            return Found(xmp=stream.read(count))
    return Found()


def _directory(stream: BinaryIO) -> _Directory | None:
    """The first one; None for what is no TIFF."""
    stream.seek(0)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(stream.read(4))
    if order is None:
        return None
    try:
        (at,) = struct.unpack(f"{order}L", stream.read(4))
        stream.seek(at)
        (count,) = struct.unpack(f"{order}H", stream.read(2))
        entries = [stream.read(_ENTRY_BYTES) for _ in range(count)]
        tags = [(struct.unpack(f"{order}H", entry[:2])[0], entry) for entry in entries]
        (following,) = struct.unpack(f"{order}L", stream.read(4))
    except struct.error:
        return None
    return _Directory(order, tags, following)
