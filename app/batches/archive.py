"""The outputs of a batch as one ZIP, made while it is sent: nothing of it is kept anywhere.

Pictures and videos are compressed already, so members are stored as they are.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Final

from app.batches.queries import Output
from app.storage import Storage

PIECE_BYTES: Final = 256 * 1024


class _Outlet(io.RawIOBase):
    """Takes what the archive writes until it is fetched; cannot be sought, so nothing is kept."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole


def stream_archive(storage: Storage, outputs: Iterable[Output]) -> Iterator[bytes]:
    """A ZIP of ``INDEX-NAME`` members, a piece at a time; files that are gone are left out."""
    outlet = _Outlet()
    names: set[str] = set()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        for output in outputs:
            try:
                source = storage.open(output.storage_key)
            except FileNotFoundError:
                continue
            member = zipfile.ZipInfo(_name(output, names))
            # the size is known, but the archive learns it only when the member was written
            large = output.bytes >= zipfile.ZIP64_LIMIT
            with source, archive.open(member, "w", force_zip64=large) as target:
                while piece := source.read(PIECE_BYTES):
                    target.write(piece)
                    yield outlet.taken()
    yield outlet.taken()


def _name(output: Output, names: set[str]) -> str:
    """Unique in the archive; names of files are labels without folders."""
    name = f"{output.position:05d}-{output.name}"
    number = 2
    while name in names:
        name = f"{output.position:05d}-{number}-{output.name}"
        number += 1
    names.add(name)
    return name
