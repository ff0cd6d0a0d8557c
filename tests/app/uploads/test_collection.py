"""Uploads go with their bytes when their time is over; files they became stay."""

import io
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.errors import ConflictError, NotFoundError
from app.files.garbage import Garbage, collect_garbage
from app.files.models import File
from app.storage import FileStorage
from app.uploads.collection import collect_expired_uploads
from app.uploads.finishing import finish
from app.uploads.models import Upload
from app.uploads.receiving import receive
from app.uploads.service import UploadDesk, UploadOffer, begin
from engines.spec import MediaInfo, MediaKind

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
INFO = MediaInfo(kind=MediaKind.IMAGE, media_type="image/png", bytes=4, width=2, height=3)


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "files")


@pytest.fixture
def desk(sessions: sessionmaker[Session], storage: FileStorage) -> UploadDesk:
    with sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO tenant (id, name, tenant_group, zone, mode, consent_mode, weight,"
                " max_in_flight, webhook_secret)"
                " VALUES ('ten_1', 'a', 'free', 'UTC', 'prepaid', 'request', 1, 1, '')"
            )
        )

    def transactions() -> AbstractContextManager[Session]:
        return sessions.begin()

    return UploadDesk(
        transactions=transactions,
        storage=storage,
        probe=lambda path: INFO,
        max_bytes=100,
        max_open=10,
        max_open_bytes=25,
        lifetime=timedelta(hours=24),
        keep_inputs=timedelta(hours=24),
    )


def _begun(desk: UploadDesk, total: int = 4) -> Upload:
    with desk.transactions() as session:
        return begin(
            session, desk, tenant_id="ten_1", way="tus", offer=UploadOffer(total=total), now=NOW
        )


def _sent(desk: UploadDesk, upload: Upload, content: bytes) -> None:
    receive(
        desk,
        tenant_id="ten_1",
        upload_id=upload.id,
        offset=0,
        stream=io.BytesIO(content),
        length=len(content),
        checksum=None,
        now=NOW,
    )


def _collect(desk: UploadDesk, now: datetime) -> int:
    with desk.transactions() as session:
        return collect_expired_uploads(session, desk.storage, now, limit=100)


def test_an_expired_upload_goes_with_its_bytes(desk: UploadDesk, storage: FileStorage) -> None:
    _sent(desk, _begun(desk), b"ha")
    assert _collect(desk, NOW + timedelta(hours=24)) == 0
    assert _collect(desk, NOW + timedelta(hours=24, minutes=11)) == 1
    assert list(storage.growing.keys(older_than_s=-1)) == []


def test_a_finished_upload_goes_and_its_file_stays(
    desk: UploadDesk, storage: FileStorage, session: Session
) -> None:
    upload = _begun(desk)
    _sent(desk, upload, b"data")
    finish(desk, tenant_id="ten_1", upload_id=upload.id, now=NOW)
    assert _collect(desk, NOW + timedelta(days=2)) == 1
    file = session.scalars(select(File)).one()
    assert storage.path(file.storage_key).read_bytes() == b"data"


def test_what_arrived_whole_and_was_not_looked_at_yet_is_no_orphan(
    desk: UploadDesk, storage: FileStorage, sessions: sessionmaker[Session]
) -> None:
    upload = _begun(desk)
    _sent(desk, upload, b"data")
    storage.growing.finish(upload.storage_key, {})
    assert collect_garbage(sessions, storage, now=NOW, orphan_age_s=-1) == Garbage()
    assert _collect(desk, NOW + timedelta(days=2)) == 1
    assert list(storage.objects()) == []


def test_full_lengths_count_against_the_limit(desk: UploadDesk) -> None:
    _begun(desk, 20)
    with pytest.raises(ConflictError) as refusal:
        _begun(desk, 6)
    assert refusal.value.code == "too_many_uploads"
    _begun(desk, 5)


def test_finishing_twice_is_once(desk: UploadDesk, session: Session) -> None:
    upload = _begun(desk)
    _sent(desk, upload, b"data")
    first, second = (
        finish(desk, tenant_id="ten_1", upload_id=upload.id, now=NOW).file_id for _ in range(2)
    )
    assert first == second
    assert session.scalar(select(func.count()).select_from(File)) == 1


def test_an_upload_whose_bytes_are_gone_is_not_found(
    desk: UploadDesk, storage: FileStorage
) -> None:
    upload = _begun(desk)
    _sent(desk, upload, b"data")
    storage.growing.drop(upload.storage_key)
    with pytest.raises(NotFoundError) as refusal:
        finish(desk, tenant_id="ten_1", upload_id=upload.id, now=NOW)
    assert refusal.value.code == "upload_not_found"
