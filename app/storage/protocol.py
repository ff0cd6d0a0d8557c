"""What every storage can do, and what it says when it cannot.

A full storage is ``OSError`` with ``ENOSPC`` everywhere: the disk's own error, and what an S3
server answers with status 507.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

COPY_BYTES: Final = 1024 * 1024
PIECE_BYTES: Final = 8 * 1024 * 1024  # of a growing object: an fsync or a part each
_KEY: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}")

# What a storage remembers of an object that grows: JSON, kept by the caller, read by nobody else.
GrowingState = Mapping[str, Any]


class StorageError(Exception):
    """Raised when the storage address cannot be served or a key is not one of ours."""


class StorageUnavailableError(StorageError):
    """Raised when the storage does not answer or refuses us; the same call may succeed later."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A whole object; ``age_s`` is never younger than its last byte."""

    key: str
    bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Grown:
    """What an append came to: ``offset`` bytes are on stable storage, to be told to the next."""

    offset: int
    state: GrowingState


class GrowingObjects(Protocol):
    """Objects that arrive in pieces; none is an object before ``finish``."""

    def begin(self, key: str, *, total: int) -> GrowingState:
        """Start one that will have ``total`` bytes."""

    def append(
        self, key: str, state: GrowingState, *, offset: int, piece: bytes | memoryview, total: int
    ) -> Grown:
        """Add a piece behind ``offset``; what the answer says survives a power cut.

        An append at the same offset replaces what an interrupted one left. One at a time may
        append, and only the caller can see to that. Pieces should have ``PIECE_BYTES``.
        """

    def finish(self, key: str, state: GrowingState) -> None:
        """Let the object appear under its key; doing it twice is fine.

        Raises:
            FileNotFoundError: it was dropped.
        """

    def drop(self, key: str) -> None:
        """Forget an unfinished one; doing it twice is fine."""

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """Those that were begun, or on a disk last written to, at least so long ago."""


class Storage(Protocol):
    """Objects under server-made keys; writes are atomic, deleting twice is fine.

    Every method may raise ``StorageUnavailableError``, and those that write ``OSError`` with
    ``ENOSPC``.
    """

    @property
    def growing(self) -> GrowingObjects:
        """Objects that arrive in pieces."""

    @property
    def direct(self) -> "DirectUploads | None":
        """Objects that clients send to the storage itself; None where it cannot."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Give the path of an empty private file, which is gone afterwards unless it was moved."""

    def put_file(self, path: Path, *, move: bool = False, key: str | None = None) -> str:
        """Store a copy of a local file, or the file itself with ``move``; returns its key.

        A ``key`` of the caller's replaces what it names; only the same content may follow where
        anybody reads by ``local``.
        """

    def put_stream(self, stream: BinaryIO) -> str:
        """Store everything that ``stream`` still holds; returns its key."""

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """The object, or a part of it, for reading forward; raises ``FileNotFoundError``."""

    def local(self, key: str, folder: Path) -> Path:
        """The object as a local file, read-only by agreement, for as long as ``folder`` lives.

        Raises:
            FileNotFoundError: it is gone.
        """

    def nearby(self, key: str) -> AbstractContextManager[Path]:
        """The same, until the block ends."""

    def size(self, key: str) -> int | None:
        """How many bytes the object has; None when there is none."""

    def delete(self, key: str) -> None:
        """Forget the object; an unknown key is no error."""

    def check(self) -> None:
        """Do what shows that objects can be written now."""

    def objects(self) -> Iterator[StoredObject]:
        """Every whole object, in the order of keys; meant for collecting garbage."""

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """Keys of objects that were written at least that long ago, in order."""

    def clean_scratch(self, *, older_than_s: float) -> int:
        """Delete scratch files whose process died; returns how many."""


class DirectUploads(Protocol):
    """Objects that clients send to the storage itself, by an address that takes one PUT."""

    def address(
        self, key: str, *, total: int, sha256: str | None, expires_s: int
    ) -> tuple[str, Mapping[str, str]]:
        """The address for this key, and the headers to send with it.

        What arrives is no object before ``adopt``.
        """

    def adopt(self, key: str, *, total: int) -> int | None:
        """Let what arrived appear under its key, out of reach of the address that it came by.

        Returns how many bytes arrived, None when nothing did; adopts exactly ``total``.
        """

    def discard(self, key: str) -> None:
        """Forget what arrived; nothing is no error."""

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """Those that arrived at least so long ago and were not adopted."""


def new_key() -> str:
    """A key that nobody can guess; its first two digits spread objects over folders."""
    name = secrets.token_hex(16)
    return f"{name[:2]}/{name}"


def checked_key(key: str) -> str:
    """The key itself; raises ``StorageError`` for one that we did not make."""
    if _KEY.fullmatch(key) is None:
        message = f"{key!r} is not a storage key"
        raise StorageError(message)
    return key
