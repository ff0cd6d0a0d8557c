"""Bytes of an upload, from a request to stable storage.

A request writes piece by piece (8 MiB). Each piece is written while its upload's row is locked, and
only if no newer request has begun to write (``writer`` is a fence); it is synced, then ``received``
is raised in the same transaction. So after any crash ``received`` is exactly what is there: bytes
behind it may exist, nobody counts them, and the next piece overwrites them. Waiting for the client
holds no lock and no connection to the database.
"""

import mmap
from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO, Final

from sqlalchemy.orm import Session

from app.errors import ConflictError, TooLargeError
from app.storage.protocol import PIECE_BYTES
from app.uploads.checksum import Checksum
from app.uploads.models import Upload
from app.uploads.service import UploadDesk, locked, refusal

READ_BYTES: Final = 128 * 1024


class BrokenOffError(Exception):
    """Raised by a stream whose client went away; what came before it counts."""


def receive(
    desk: UploadDesk,
    *,
    tenant_id: str,
    upload_id: str,
    offset: int,
    stream: BinaryIO,
    length: int | None,
    checksum: Checksum | None,
    now: datetime,
) -> int:
    """Append a body to an upload; returns how many bytes have been received now.

    ``length`` is how long the body says it is, None when it does not say.

    Raises:
        ConflictError: ``offset_mismatch``, or ``upload_taken_over`` by a newer request.
        TooLargeError: ``upload_too_long``, more than was announced; what fits is kept.
        ProblemError: ``checksum_mismatch``; nothing of the body is kept.
        BrokenOffError: the client went away; without a checksum, what came is kept.
    """
    with desk.transactions() as session:
        upload = locked(session, tenant_id=tenant_id, upload_id=upload_id, now=now)
        _check_place(upload, offset, length)
        upload.writer += 1
        writer = _Writer(desk, upload, now)
    if checksum is None:
        writer.write(stream)
        return writer.offset
    digest = checksum.begin()
    writer.write(stream, seen=digest.update)
    checksum.check(digest)
    writer.count()
    return writer.offset


def _check_place(upload: Upload, offset: int, length: int | None) -> None:
    if upload.status == "refused":
        raise refusal(upload)
    if upload.way != "tus":
        detail = "This upload goes to the address that it was given."
        raise ConflictError(detail, code="upload_is_direct")
    if upload.received != offset:
        detail = f"The upload stands at {upload.received}, not at {offset}. Go on there."
        raise ConflictError(detail, code="offset_mismatch")
    if length is not None and offset + length > upload.total:
        raise _too_long(upload.total)


def _too_long(total: int) -> TooLargeError:
    detail = f"The upload was announced with {total} bytes; this is more. Begin a new one."
    return TooLargeError(detail, code="upload_too_long")


class _Writer:
    """One request's right to write to an upload, until a newer one begins."""

    def __init__(self, desk: UploadDesk, upload: Upload, now: datetime) -> None:
        self.offset = upload.received
        self._desk = desk
        self._now = now
        self._fence = upload.writer
        self._who = {"tenant_id": upload.tenant_id, "upload_id": upload.id}
        self._key = upload.storage_key
        self._total = upload.total
        self._state = upload.growing

    def write(self, stream: BinaryIO, *, seen: Callable[[memoryview], None] | None = None) -> None:
        """Append what the stream gives; with ``seen`` nothing counts before ``count``."""
        size = min(PIECE_BYTES, max(1, self._total - self.offset))
        # Memory of its own: what the heap of each thread keeps for later would add up.
        with mmap.mmap(-1, size) as room, memoryview(room) as buffer:
            self._fill(buffer, stream, seen)
        if self.offset == self._total and stream.read(1):
            raise _too_long(self._total)

    def _fill(
        self, buffer: memoryview, stream: BinaryIO, seen: Callable[[memoryview], None] | None
    ) -> None:
        broken: BrokenOffError | None = None
        while self.offset < self._total and broken is None:
            filled, broken = _read(stream, buffer, min(len(buffer), self._total - self.offset))
            if not filled:
                break
            with buffer[:filled] as piece:
                self._append(piece, counts=seen is None)
                if seen is not None:
                    seen(piece)
        if broken is not None:
            raise broken

    def count(self) -> None:
        """Let everything that was written count."""
        with self._desk.transactions() as session:
            self._count(self._mine(session))

    def _append(self, piece: memoryview, *, counts: bool) -> None:
        with self._desk.transactions() as session:
            upload = self._mine(session)
            grown = self._desk.storage.growing.append(
                self._key, self._state, offset=self.offset, piece=piece, total=self._total
            )
            self.offset, self._state = grown.offset, dict(grown.state)
            if counts:
                self._count(upload)

    def _count(self, upload: Upload) -> None:
        upload.received, upload.growing = self.offset, self._state

    def _mine(self, session: Session) -> Upload:
        """The row, locked, if nobody newer writes to it."""
        upload = locked(session, **self._who, now=self._now)
        if upload.writer != self._fence or upload.status != "receiving":
            detail = "A newer request goes on with this upload. Ask with HEAD how far it is."
            raise ConflictError(detail, code="upload_taken_over")
        return upload


def _read(stream: BinaryIO, buffer: memoryview, size: int) -> tuple[int, BrokenOffError | None]:
    """Read ``size`` bytes, or fewer at the end of the body or where it breaks off; how many.

    In small reads: whatever lies below keeps a copy or two of each.
    """
    filled = 0
    try:
        while filled < size:
            part = stream.read(min(READ_BYTES, size - filled))
            if not part:
                break
            buffer[filled : filled + len(part)] = part
            filled += len(part)
    except BrokenOffError as broken:
        return filled, broken
    return filled, None
