"""Files: intake with every check before a row exists, reading by tenant, outputs of jobs.

A row is written after its object is whole in storage; a refusal at any step leaves neither. The
tenant is part of every question, so that a stranger's id looks like an unknown one.
"""

import contextlib
import hashlib
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.errors import InvalidRequestError, NotFoundError, TooLargeError
from app.files.models import File
from app.files.retention import DEFAULT
from app.ids import new_id
from app.storage import Storage, StorageUnavailableError
from engines.spec import MediaInfo, MediaKind

NAME_LENGTH_MAX: Final = 255
_CHUNK_BYTES: Final = 1024 * 1024

# Finds out what a local file is, in a process that may die of it (``app.files.prober``).
Probe = Callable[[Path], MediaInfo]


def ingest(
    session: Session,
    storage: Storage,
    *,
    tenant_id: str,
    stream: BinaryIO,
    name: str | None,
    max_bytes: int,
    probe: Probe,
    now: datetime,
    keep: timedelta = DEFAULT.inputs,
) -> File:
    """Take in an upload: bounded copy, probe, store, row.

    Hold no locks when calling: a slow client or a long video makes this slow.

    Raises:
        TooLargeError: code ``file_too_large``, more than ``max_bytes``.
        InvalidRequestError: what the probe says no with, each with its own code.
    """
    with storage.scratch() as path:
        sha256, size = copy_bounded(stream, path, max_bytes=max_bytes)
        info = probe(path)
        key = storage.put_file(path, move=True)
    file = input_file(
        key, tenant_id=tenant_id, name=name, size=size, sha256=sha256, info=info, now=now, keep=keep
    )
    return _add(session, storage, file)


def input_file(
    storage_key: str,
    *,
    tenant_id: str,
    name: str | None,
    size: int,
    sha256: str,
    info: MediaInfo,
    now: datetime,
    keep: timedelta,
) -> File:
    """The row of an object that was examined; the caller adds it."""
    return File(
        id=new_id("file"),
        tenant_id=tenant_id,
        purpose="input",
        storage_key=storage_key,
        name=clean_name(name),
        bytes=size,
        sha256=sha256,
        created_at=now,
        expires_at=now + keep,
        **_facts(info),
    )


def output_file(
    storage: Storage,
    *,
    tenant_id: str,
    job_id: str | None,
    path: Path,
    name: str,
    media_type: str,
    info: MediaInfo | None,
    now: datetime,
    keep: timedelta = DEFAULT.outputs,
) -> File:
    """Store a file that was produced here and describe it; the caller adds the row.

    ``info`` is None for data that is no picture or video.
    """
    facts = {"media_type": media_type, "kind": "data"} if info is None else _facts(info)
    return File(
        id=new_id("file"),
        tenant_id=tenant_id,
        job_id=job_id,
        purpose="output",
        storage_key=storage.put_file(path),
        name=clean_name(name),
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        created_at=now,
        expires_at=now + keep,
        **facts,
    )


def output_entry(file: File) -> dict[str, Any]:
    """An output as it is kept in ``job.output["files"]``: a job is rendered without a join."""
    return {
        "id": file.id,
        "name": file.name,
        "media_type": file.media_type,
        "bytes": file.bytes,
        "sha256": file.sha256,
    }


def get(session: Session, *, tenant_id: str, file_id: str, now: datetime) -> File:
    """One file of a tenant; unknown, foreign and expired ids are the same ``NotFoundError``."""
    return get_many(session, tenant_id=tenant_id, file_ids=[file_id], now=now)[file_id]


def get_many(
    session: Session, *, tenant_id: str, file_ids: Sequence[str], now: datetime
) -> Mapping[str, File]:
    """Files of a tenant by id, with one query; every id must be there."""
    found = find_many(session, tenant_id=tenant_id, file_ids=file_ids, now=now)
    for file_id in file_ids:
        if file_id not in found:
            raise NotFoundError(
                f"There is no file {file_id!r}; it may have expired. Upload it again.",
                code="file_not_found",
            )
    return found


def find_many(
    session: Session, *, tenant_id: str, file_ids: Collection[str], now: datetime
) -> Mapping[str, File]:
    """Those of a tenant's files that are there, by id, with one query."""
    rows = session.scalars(
        select(File).where(
            File.tenant_id == tenant_id, File.id.in_(set(file_ids)), File.expires_at > now
        )
    )
    return {file.id: file for file in rows}


def keep_until(session: Session, *, file_ids: Sequence[str], until: datetime) -> None:
    """Let files live at least so long: something that was promised needs them."""
    session.execute(
        update(File).where(File.id.in_(file_ids), File.expires_at < until).values(expires_at=until)
    )


def find(session: Session, *, file_id: str, now: datetime) -> File:
    """A file whoever owns it: only for a signed link, whose signature names the tenant."""
    file = session.get(File, file_id)
    if file is None or file.expires_at <= now:
        raise NotFoundError("There is no such file; it may have expired.", code="file_not_found")
    return file


def media_info(file: File) -> MediaInfo:
    """What probing found, from the row."""
    if file.kind not in {MediaKind.IMAGE, MediaKind.VIDEO}:
        raise InvalidRequestError(
            f"The file {file.id} is {file.media_type}, not a picture or a video.",
            code="unsupported_media",
        )
    return MediaInfo(
        kind=MediaKind(file.kind),
        media_type=file.media_type,
        bytes=file.bytes,
        width=file.width or 0,
        height=file.height or 0,
        duration_s=file.duration_s,
        frames=file.frames,
        fps=file.fps,
        has_audio=file.has_audio,
    )


def copy_bounded(stream: BinaryIO, path: Path, *, max_bytes: int) -> tuple[str, int]:
    """Copy a stream to ``path``; returns its SHA-256 and length, or stops at the limit."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as target:
        for chunk in _chunks(stream):
            size += len(chunk)
            if size > max_bytes:
                raise TooLargeError(
                    f"The file is larger than {max_bytes} bytes. Send a smaller one.",
                    code="file_too_large",
                )
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest(), size


def sha256_of(path: Path) -> str:
    """The SHA-256 of a local file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def clean_name(name: str | None) -> str:
    """A client's file name as a label: never a path, no control or direction characters."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    kept = (
        character
        for character in unicodedata.normalize("NFC", last)
        if unicodedata.category(character)[0] != "C"
    )
    return "".join(kept).strip()[:NAME_LENGTH_MAX] or "unnamed"


def _chunks(stream: BinaryIO) -> Iterable[bytes]:
    return iter(lambda: stream.read(_CHUNK_BYTES), b"")


def _facts(info: MediaInfo) -> dict[str, Any]:
    return {
        "media_type": info.media_type,
        "kind": info.kind.value,
        "width": info.width,
        "height": info.height,
        "duration_s": info.duration_s,
        "frames": info.frames,
        "fps": info.fps,
        "has_audio": info.has_audio,
    }


def _add(session: Session, storage: Storage, file: File) -> File:
    try:
        session.add(file)
        session.flush()
    except BaseException:
        with contextlib.suppress(StorageUnavailableError):  # then it is swept
            storage.delete(file.storage_key)
        raise
    return file
