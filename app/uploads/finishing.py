"""From all bytes of an upload to a file: the same checks as for a file sent at once.

Takes as long as probing takes and holds no lock meanwhile. If the process dies on the way, the
bytes are whole and still an upload's: the next request that looks at it finishes it.
"""

from datetime import datetime
from pathlib import Path

from app.errors import ConflictError, InvalidRequestError, NotFoundError
from app.files.models import File
from app.files.service import input_file, sha256_of
from app.storage import StorageUnavailableError
from app.uploads.models import Upload
from app.uploads.service import UploadDesk, get, locked, refusal
from engines.spec import MediaInfo


def finish(desk: UploadDesk, *, tenant_id: str, upload_id: str, now: datetime) -> Upload:
    """Make a file of an upload of which everything has arrived; twice is once.

    Raises:
        ConflictError: ``upload_incomplete``.
        InvalidRequestError: what probing says no with, or ``checksum_mismatch``; it stays refused.
    """
    with desk.transactions() as session:
        upload = get(session, tenant_id=tenant_id, upload_id=upload_id, now=now)
    if upload.status == "receiving":
        upload = _finish(desk, upload, now)
    if upload.status == "refused":
        raise refusal(upload)
    return upload


def is_whole(upload: Upload) -> bool:
    """Whether everything has arrived that was announced."""
    return upload.received == upload.total


def _finish(desk: UploadDesk, upload: Upload, now: datetime) -> Upload:
    try:
        _appear(desk, upload)
        with desk.storage.nearby(upload.storage_key) as path:
            info, sha256 = _examined(desk, upload, path)
    except InvalidRequestError as refused:
        return _refuse(desk, upload, refused, now)
    except FileNotFoundError:
        return _settled(desk, upload, now)
    file = input_file(
        upload.storage_key,
        tenant_id=upload.tenant_id,
        name=upload.name,
        size=upload.total,
        sha256=sha256,
        info=info,
        now=now,
        keep=desk.keep_inputs,
    )
    return _accept(desk, upload, file, now)


def _appear(desk: UploadDesk, upload: Upload) -> None:
    """Turn what arrived into an object."""
    if upload.way == "direct":
        _adopt(desk, upload)
        return
    if not is_whole(upload):
        detail = f"{upload.total - upload.received} bytes are missing. Go on at {upload.received}."
        raise ConflictError(detail, code="upload_incomplete")
    desk.storage.growing.finish(upload.storage_key, upload.growing)


def _adopt(desk: UploadDesk, upload: Upload) -> None:
    if desk.storage.direct is None:
        raise StorageUnavailableError("the storage that the upload went to is not configured now")
    arrived = desk.storage.direct.adopt(upload.storage_key, total=upload.total)
    if arrived is None:
        detail = "Nothing has arrived. PUT the file to the address that the upload was given."
        raise ConflictError(detail, code="upload_incomplete")
    if arrived != upload.total:
        detail = f"{arrived} bytes arrived, {upload.total} were announced. PUT the right file."
        raise ConflictError(detail, code="upload_incomplete")


def _examined(desk: UploadDesk, upload: Upload, path: Path) -> tuple[MediaInfo, str]:
    sha256 = sha256_of(path)
    if upload.sha256 is not None and upload.sha256 != sha256:
        detail = f"The file has the sha256 {sha256}, not the one announced. Send it again."
        raise InvalidRequestError(detail, code="sha256_mismatch")
    return desk.probe(path), sha256


def _accept(desk: UploadDesk, upload: Upload, file: File, now: datetime) -> Upload:
    with desk.transactions() as session:
        row = locked(session, tenant_id=upload.tenant_id, upload_id=upload.id, now=now)
        if row.status == "receiving":
            session.add(file)
            row.status, row.file_id, row.received = "finished", file.id, row.total
    return row


def _refuse(
    desk: UploadDesk, upload: Upload, refused: InvalidRequestError, now: datetime
) -> Upload:
    """Remember why, then let the bytes go; a crash in between leaves them to the collection."""
    with desk.transactions() as session:
        row = locked(session, tenant_id=upload.tenant_id, upload_id=upload.id, now=now)
        if row.status != "receiving":
            return row
        row.status = "refused"
        row.error = {"code": refused.code, "detail": refused.detail, "status": refused.status}
    desk.storage.delete(upload.storage_key)
    return row


def _settled(desk: UploadDesk, upload: Upload, now: datetime) -> Upload:
    """What another request made of it, that was quicker and let the bytes go.

    Raises:
        NotFoundError: ``upload_not_found``; nobody was, and the bytes are gone.
    """
    with desk.transactions() as session:
        row = get(session, tenant_id=upload.tenant_id, upload_id=upload.id, now=now)
    if row.status == "receiving":
        detail = "What was uploaded is gone. Begin a new upload."
        raise NotFoundError(detail, code="upload_not_found")
    return row
