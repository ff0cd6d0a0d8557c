"""Uploads begun, looked up, taken back; the bytes are ``receiving``, the end is ``finishing``."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    ProblemError,
    TooLargeError,
)
from app.files.service import Probe, clean_name
from app.ids import new_id
from app.storage import Storage, new_key
from app.uploads.models import Upload

GONE: Final = 410
DIRECT_EXPIRES_S: Final = 900

# Opens one transaction; an upload takes many.
Transactions = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True, slots=True)
class UploadDesk:
    """What uploads need in this process; shared by all requests."""

    transactions: Transactions
    storage: Storage
    probe: Probe
    max_bytes: int
    max_open: int  # of one tenant
    max_open_bytes: int  # of one tenant, at their full lengths
    lifetime: timedelta
    keep_inputs: timedelta


@dataclass(frozen=True, slots=True)
class UploadOffer:
    """What a caller says of a file before it sends it."""

    total: int
    name: str | None = None
    sha256: str | None = None
    labels: str = ""


def begin(
    session: Session,
    desk: UploadDesk,
    *,
    tenant_id: str,
    way: str,
    offer: UploadOffer,
    now: datetime,
) -> Upload:
    """Make room for a file of ``offer.total`` bytes.

    Raises:
        InvalidRequestError: ``empty_file``.
        TooLargeError: ``file_too_large``.
        ConflictError: ``too_many_uploads``.
    """
    if offer.total == 0:
        raise InvalidRequestError(
            "The file is empty. Send one that has content.", code="empty_file"
        )
    if offer.total > desk.max_bytes:
        detail = f"The file is larger than {desk.max_bytes} bytes. Send a smaller one."
        raise TooLargeError(detail, code="file_too_large")
    _check_open(session, desk, tenant_id, offer.total, now)
    key = new_key()
    upload = Upload(
        id=new_id("upl"),
        tenant_id=tenant_id,
        way=way,
        status="receiving",
        name=clean_name(offer.name),
        labels=offer.labels,
        total=offer.total,
        received=0,
        sha256=offer.sha256,
        storage_key=key,
        growing=dict(desk.storage.growing.begin(key, total=offer.total)) if way == "tus" else {},
        writer=0,
        created_at=now,
        expires_at=now + desk.lifetime,
    )
    session.add(upload)
    session.flush()
    return upload


def _check_open(
    session: Session, desk: UploadDesk, tenant_id: str, total: int, now: datetime
) -> None:
    """One tenant's uploads are counted one after another: together they could pass the limit."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('upload:' || :tenant, 0))"),
        {"tenant": tenant_id},
    )
    count, taken = session.execute(
        select(func.count(), func.coalesce(func.sum(Upload.total), 0)).where(
            Upload.tenant_id == tenant_id, Upload.status == "receiving", Upload.expires_at > now
        )
    ).one()
    if count >= desk.max_open or taken + total > desk.max_open_bytes:
        detail = (
            f"{count} uploads of {taken} bytes are under way; {desk.max_open} of "
            f"{desk.max_open_bytes} bytes may be. Finish or delete one first."
        )
        raise ConflictError(detail, code="too_many_uploads")


def get(session: Session, *, tenant_id: str, upload_id: str, now: datetime) -> Upload:
    """One upload of a tenant.

    Raises:
        NotFoundError: ``upload_not_found``, unknown or another tenant's.
        ProblemError: ``upload_expired``.
    """
    return _usable(session.get(Upload, upload_id, populate_existing=True), tenant_id, now)


def locked(session: Session, *, tenant_id: str, upload_id: str, now: datetime) -> Upload:
    """The same, kept from everybody else until the end of the transaction."""
    row = session.scalars(
        select(Upload).where(Upload.id == upload_id).with_for_update(),
        execution_options={"populate_existing": True},
    ).one_or_none()
    return _usable(row, tenant_id, now)


def _usable(upload: Upload | None, tenant_id: str, now: datetime) -> Upload:
    if upload is None or upload.tenant_id != tenant_id:
        raise NotFoundError("There is no such upload. Begin a new one.", code="upload_not_found")
    if upload.expires_at <= now:
        detail = "The upload has expired. Begin a new one."
        problem = ProblemError(detail, code="upload_expired", status=GONE)
        problem.title = "Gone"
        raise problem
    return upload


def refusal(upload: Upload) -> ProblemError:
    """Why the file of an upload was refused, as it was told the first time."""
    error = upload.error or {}
    return InvalidRequestError(error["detail"], code=error["code"], status=error["status"])


def terminate(desk: UploadDesk, *, tenant_id: str, upload_id: str, now: datetime) -> None:
    """Take an upload back. A file that it became stays; whoever still writes to it is refused."""
    with desk.transactions() as session:
        upload = locked(session, tenant_id=tenant_id, upload_id=upload_id, now=now)
        session.delete(upload)
    if upload.status == "receiving":
        forget_bytes(desk.storage, upload)


def forget_bytes(storage: Storage, upload: Upload) -> None:
    """Delete whatever of an upload has arrived and is no file."""
    if upload.way == "tus":
        storage.growing.drop(upload.storage_key)
    elif storage.direct is not None:
        storage.direct.discard(upload.storage_key)
    storage.delete(upload.storage_key)
