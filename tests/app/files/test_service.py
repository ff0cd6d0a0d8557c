"""Nothing is kept that was not wanted, and nobody reads what is not theirs."""

import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import InvalidRequestError, NotFoundError, TooLargeError
from app.files.models import File
from app.files.service import (
    clean_name,
    find,
    get,
    get_many,
    ingest,
    media_info,
    output_entry,
    output_file,
)
from app.storage import FileStorage
from engines.spec import MediaInfo, MediaKind

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
INFO = MediaInfo(kind=MediaKind.IMAGE, media_type="image/png", bytes=4, width=2, height=3)

Tenants = tuple[str, str]


def _left_in(storage: FileStorage) -> list[Path]:
    root = storage.path("00/" + "0" * 32).parents[2]
    return [path for path in root.rglob("*") if path.is_file()]


def _ingest(
    session: Session,
    storage: FileStorage,
    tenant_id: str,
    *,
    stream: BinaryIO | None = None,
    name: str | None = "a.png",
    max_bytes: int = 100,
) -> File:
    return ingest(
        session,
        storage,
        tenant_id=tenant_id,
        stream=stream or io.BytesIO(b"data"),
        name=name,
        max_bytes=max_bytes,
        probe=lambda path: INFO,
        now=NOW,
    )


def test_a_file_is_kept_with_its_hash_and_facts(
    session: Session, storage: FileStorage, tenants: Tenants
) -> None:
    made = _ingest(session, storage, tenants[0])
    session.commit()
    file = get(session, tenant_id=tenants[0], file_id=made.id, now=NOW)
    assert file.sha256 == hashlib.sha256(b"data").hexdigest()
    assert (file.bytes, file.width, file.height) == (4, 2, 3)
    assert file.expires_at == NOW + timedelta(hours=24)
    assert storage.path(file.storage_key).read_bytes() == b"data"
    assert media_info(file) == INFO


def test_a_file_over_the_limit_leaves_nothing(
    session: Session, storage: FileStorage, tenants: Tenants
) -> None:
    with pytest.raises(TooLargeError) as refusal:
        _ingest(session, storage, tenants[0], stream=io.BytesIO(b"x" * 101))
    assert refusal.value.code == "file_too_large"
    assert _left_in(storage) == []
    assert session.scalar(select(func.count()).select_from(File)) == 0


def test_a_file_that_probing_refuses_leaves_nothing(
    session: Session, storage: FileStorage, tenants: Tenants
) -> None:
    def refuse(path: Path) -> MediaInfo:
        assert path.read_bytes() == b"data"
        raise InvalidRequestError("no", code="unsupported_media")

    with pytest.raises(InvalidRequestError):
        ingest(
            session,
            storage,
            tenant_id=tenants[0],
            stream=io.BytesIO(b"data"),
            name=None,
            max_bytes=100,
            probe=refuse,
            now=NOW,
        )
    assert _left_in(storage) == []


def test_a_client_that_goes_away_leaves_nothing(
    session: Session, storage: FileStorage, tenants: Tenants
) -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        _ingest(session, storage, tenants[0], stream=Gone())
    assert _left_in(storage) == []


def test_a_row_that_cannot_be_written_leaves_no_object(
    session: Session, storage: FileStorage, tenants: Tenants
) -> None:
    with pytest.raises(IntegrityError):
        _ingest(session, storage, "ten_unknown")
    assert _left_in(storage) == []


def test_foreign_unknown_and_expired_files_look_the_same(
    session: Session, storage: FileStorage, tenants: Tenants
) -> None:
    mine = _ingest(session, storage, tenants[0])
    session.commit()
    questions = [
        (tenants[1], mine.id, NOW),
        (tenants[0], "file_unknown", NOW),
        (tenants[0], mine.id, NOW + timedelta(hours=25)),
    ]
    codes = set()
    for tenant_id, file_id, now in questions:
        with pytest.raises(NotFoundError) as refusal:
            get(session, tenant_id=tenant_id, file_id=file_id, now=now)
        codes.add((refusal.value.status, refusal.value.code))
    assert codes == {(404, "file_not_found")}
    assert find(session, file_id=mine.id, now=NOW).tenant_id == tenants[0]
    with pytest.raises(NotFoundError):
        find(session, file_id=mine.id, now=NOW + timedelta(hours=25))


def test_one_missing_file_of_many_is_named(
    session: Session, storage: FileStorage, tenants: Tenants
) -> None:
    mine = _ingest(session, storage, tenants[0])
    with pytest.raises(NotFoundError, match="file_nothing"):
        get_many(session, tenant_id=tenants[0], file_ids=[mine.id, "file_nothing"], now=NOW)


def test_an_output_belongs_to_its_job_and_lives_a_week(
    session: Session, storage: FileStorage, tenants: Tenants, tmp_path: Path
) -> None:
    produced = tmp_path / "out.json"
    produced.write_bytes(b"{}")
    file = output_file(
        storage,
        tenant_id=tenants[0],
        job_id="job_1",
        path=produced,
        name="out.json",
        media_type="application/json",
        info=None,
        now=NOW,
    )
    assert (file.purpose, file.kind, file.job_id) == ("output", "data", "job_1")
    assert file.expires_at == NOW + timedelta(days=7)
    entry = output_entry(file)
    assert entry["sha256"] == hashlib.sha256(b"{}").hexdigest()
    assert entry["media_type"] == "application/json"
    with pytest.raises(InvalidRequestError):
        media_info(file)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.png", "a.png"),
        (None, "unnamed"),
        ("", "unnamed"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\photo.jpg", "photo.jpg"),
        ("a\x00b\r\nSet-Cookie: x.png", "abSet-Cookie: x.png"),
        ("invoice\u202egnp.exe", "invoicegnp.exe"),
        ("\ud800.png", ".png"),
        ("фото.png", "фото.png"),
        ("x" * 300, "x" * 255),
        ("   ", "unnamed"),
    ],
)
def test_a_name_is_only_a_label(given: str | None, kept: str) -> None:
    assert clean_name(given) == kept
