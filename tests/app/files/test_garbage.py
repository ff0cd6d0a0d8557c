"""Rows and objects are compared both ways, on a folder and on a real S3 server."""

import io
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.files.garbage import Garbage, StrangeStorageError, collect_garbage
from app.files.models import File
from app.files.service import ingest
from app.storage import FileStorage, Storage, new_key, open_storage
from engines.spec import MediaInfo, MediaKind
from tests.app.s3_server import CREDENTIALS, S3Server, running

INFO = MediaInfo(kind=MediaKind.IMAGE, media_type="image/png", bytes=4, width=2, height=3)
Tenants = tuple[str, str]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with running() as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    if request.param == "file":
        return open_storage(f"file://{tmp_path / 'files'}")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server: S3Server = request.getfixturevalue("s3_server")
    return open_storage(server.url(uuid.uuid4().hex), home=tmp_path / "home")


def keep(sessions: sessionmaker[Session], storage: Storage, tenant: str, *, age: timedelta) -> File:
    """A file as if it had been taken in so long ago."""
    with sessions.begin() as session:
        session.expire_on_commit = False
        return ingest(
            session,
            storage,
            tenant_id=tenant,
            stream=io.BytesIO(b"data"),
            name="a.png",
            max_bytes=100,
            probe=lambda path: INFO,
            now=datetime.now(UTC) - age,
        )


def names(sessions: sessionmaker[Session]) -> set[str]:
    with sessions() as session:
        return set(session.scalars(select(File.storage_key)))


HOUR = timedelta(hours=1)


def test_what_belongs_together_stays(
    sessions: sessionmaker[Session], storage: Storage, tenants: Tenants
) -> None:
    for _ in range(3):
        keep(sessions, storage, tenants[0], age=HOUR)
    found = collect_garbage(sessions, storage, now=datetime.now(UTC), orphan_age_s=-5)
    assert found == Garbage()
    assert {each.key for each in storage.objects()} == names(sessions)


def test_objects_without_a_row_go_and_so_do_rows_without_an_object(
    sessions: sessionmaker[Session], storage: Storage, tenants: Tenants
) -> None:
    kept, lost = (keep(sessions, storage, tenants[0], age=HOUR) for _ in range(2))
    storage.delete(lost.storage_key)
    storage.put_stream(io.BytesIO(b"nobody's"))
    storage.growing.begin(new_key(), total=10)
    now = datetime.now(UTC)
    wanted = Garbage(unfinished=1, orphans=1, missing=1)
    assert collect_garbage(sessions, storage, now=now, orphan_age_s=-5, dry_run=True) == wanted
    assert len(names(sessions)) == 2
    assert collect_garbage(sessions, storage, now=now, orphan_age_s=-5) == wanted
    assert collect_garbage(sessions, storage, now=now, orphan_age_s=-5) == Garbage()
    assert names(sessions) == {each.key for each in storage.objects()} == {kept.storage_key}


def test_what_is_just_being_written_is_left_alone(
    sessions: sessionmaker[Session], storage: Storage, tenants: Tenants
) -> None:
    young = storage.put_stream(io.BytesIO(b"on its way to a row"))
    row = keep(sessions, storage, tenants[0], age=timedelta(minutes=1))
    storage.delete(row.storage_key)
    assert collect_garbage(sessions, storage, now=datetime.now(UTC)) == Garbage()
    assert storage.size(young) is not None
    assert names(sessions) == {row.storage_key}


def test_scratch_files_of_dead_processes_go(
    sessions: sessionmaker[Session], storage: Storage, tenants: Tenants
) -> None:
    with storage.scratch() as alive, storage.scratch() as dead:
        os.utime(dead, (1, 1))
        assert collect_garbage(sessions, storage, now=datetime.now(UTC)) == Garbage(scratch=1)
        assert alive.exists()
        assert not dead.exists()


def test_a_storage_that_holds_nothing_of_ours_is_not_believed(
    sessions: sessionmaker[Session], tenants: Tenants, tmp_path: Path
) -> None:
    """STORAGE_URL was mistyped, or the folder is not mounted."""
    right, wrong = FileStorage(tmp_path / "right"), FileStorage(tmp_path / "wrong")
    for _ in range(25):
        keep(sessions, right, tenants[0], age=HOUR)
    orphan = wrong.put_stream(io.BytesIO(b"somebody else's"))
    with pytest.raises(StrangeStorageError, match="25 of 25 files"):
        collect_garbage(sessions, wrong, now=datetime.now(UTC), orphan_age_s=-5)
    assert len(names(sessions)) == 25
    assert wrong.size(orphan) is not None


def test_rows_are_walked_page_by_page(
    sessions: sessionmaker[Session],
    tenants: Tenants,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app.files import garbage

    monkeypatch.setattr(garbage, "BATCH", 2)
    storage = FileStorage(tmp_path / "files")
    files = [keep(sessions, storage, tenants[0], age=HOUR) for _ in range(5)]
    orphans = [storage.put_stream(io.BytesIO(b"x")) for _ in range(5)]
    storage.delete(files[2].storage_key)
    found = collect_garbage(sessions, storage, now=datetime.now(UTC), orphan_age_s=-5)
    assert found == Garbage(orphans=5, missing=1)
    assert names(sessions) == {each.key for each in storage.objects()}
    assert all(storage.size(key) is None for key in orphans)
