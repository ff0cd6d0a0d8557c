"""The inputs of one request, wherever they come from, and nothing left when it is refused.

Open an ``Intake`` around everything up to the commit::

    with intake_desk.open(session, tenant_id=..., now=...) as intake:
        submit(session, ..., intake=intake)
        session.commit()

Whatever it stored is deleted again if the block ends by an exception, a failed commit included.
"""

import base64
import binascii
import contextlib
import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import BinaryIO, Final

from sqlalchemy.orm import Session

from app.errors import InvalidRequestError, ProblemError, TooLargeError
from app.files.known import KnownFiles
from app.files.models import File
from app.files.retention import DEFAULT
from app.files.service import Probe, ingest
from app.outbound import OutboundReason, OutboundRefusedError
from app.storage import Storage, StorageUnavailableError

DATA_URI_BYTES_MAX: Final = 24 * 1024 * 1024
# One request may name several addresses; so long it waits for all of them together.
FETCHING_S_MAX: Final = 90.0
_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(;[\w-]+=[\w.+-]+)*;base64,")

# Fetches an address into an open temporary file, under the rules of ``app.outbound``.
Fetch = Callable[[str], BinaryIO]


@dataclass(frozen=True, slots=True)
class IntakeDesk:
    """What taking in files needs in this process; shared by all requests."""

    storage: Storage
    probe: Probe
    fetch: Fetch
    max_bytes: int
    known: KnownFiles = field(default_factory=KnownFiles)
    keep: timedelta = DEFAULT.inputs

    @contextmanager
    def open(
        self, session: Session, *, tenant_id: str, now: datetime, keep: bool = True
    ) -> "Iterator[Intake]":
        """Take in files for one request; they go again if the block ends by an exception.

        With ``keep=False`` they always go, for a quote: end the block with a rollback.
        """
        intake = Intake(desk=self, session=session, tenant_id=tenant_id, now=now)
        try:
            yield intake
        except BaseException:
            intake.discard()
            raise
        if not keep:
            intake.discard()


@dataclass(slots=True)
class Intake:
    """The files that one request brought along."""

    desk: IntakeDesk
    session: Session
    tenant_id: str
    now: datetime
    stored: list[File] = field(default_factory=list)
    _fetched: dict[str, File] = field(default_factory=dict)
    _fetching_s: float = 0.0

    def store(self, stream: BinaryIO, *, name: str | None) -> File:
        """Take in an uploaded part; see ``app.files.service.ingest`` for what it refuses."""
        file = ingest(
            self.session,
            self.desk.storage,
            tenant_id=self.tenant_id,
            stream=stream,
            name=name,
            max_bytes=self.desk.max_bytes,
            probe=self.desk.probe,
            now=self.now,
            keep=self.desk.keep,
        )
        self.stored.append(file)
        return file

    def store_data_uri(self, text: str) -> File:
        """Take in ``data:image/png;base64,...``; the type it claims is not believed."""
        return self.store(io.BytesIO(decode_data_uri(text)), name=None)

    def store_url(self, url: str) -> File:
        """Fetch an address and take in what it gives; of one request, each address once."""
        if url not in self._fetched:
            with self._fetch(url) as stream:
                self._fetched[url] = self.store(stream, name=url.partition("?")[0])
        return self._fetched[url]

    def _fetch(self, url: str) -> BinaryIO:
        if self._fetching_s > FETCHING_S_MAX:
            detail = (
                f"The addresses before this one took {FETCHING_S_MAX:.0f} s together. Take them in "
                'by POST /v1/files {"url"} and name the files.'
            )
            raise OutboundRefusedError(OutboundReason.TIMED_OUT, detail)
        began = time.monotonic()
        try:
            return self.desk.fetch(url)
        finally:
            self._fetching_s += time.monotonic() - began

    def withdraw(self) -> None:
        """Delete what was stored, rows and objects, inside a transaction that goes on."""
        for file in self.stored:
            self.session.delete(file)
        self.session.flush()
        self.discard()

    def discard(self) -> None:
        """Delete the stored objects; the caller rolls the rows back."""
        for file in self.stored:
            with contextlib.suppress(StorageUnavailableError):  # then it is swept
                self.desk.storage.delete(file.storage_key)
        self.stored.clear()


def decode_data_uri(text: str) -> bytes:
    """The bytes of a base64 data URI; raises ``data_uri_malformed`` or ``file_too_large``."""
    head = _DATA_URI.match(text[:256])
    if head is None:
        raise _malformed()
    if len(text) > DATA_URI_BYTES_MAX * 4 // 3 + 256:
        raise TooLargeError(
            f"Inline data is limited to {DATA_URI_BYTES_MAX} bytes. "
            "Upload the file with POST /v1/files and send its id.",
            code="file_too_large",
        )
    try:
        return base64.b64decode(text[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise _malformed() from None


def _malformed() -> ProblemError:
    return InvalidRequestError(
        "The data URI is not base64. Send data:image/png;base64,... or upload the file.",
        code="data_uri_malformed",
    )
