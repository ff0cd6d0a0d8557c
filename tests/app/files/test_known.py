from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.errors import NotFoundError
from app.files.known import TTL_S, KnownFiles
from app.files.models import File

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Clock:
    at: float = field(default=0.0)

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def file_id(sessions: sessionmaker[Session]) -> str:
    with sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO tenant (id, name, tenant_group, zone, mode, consent_mode, weight,"
                " max_in_flight, webhook_secret)"
                " VALUES ('ten_1', 'a', 'free', 'UTC', 'prepaid', 'request', 1, 100, '')"
            )
        )
        session.add(
            File(
                id="file_1",
                tenant_id="ten_1",
                storage_key="ab/ab",
                name="a.png",
                media_type="image/png",
                kind="image",
                bytes=4,
                sha256="0",
                width=640,
                height=480,
                created_at=NOW,
                expires_at=NOW + timedelta(hours=24),
            )
        )
    return "file_1"


def look(
    known: KnownFiles, session: Session, file_id: str, tenant_id: str = "ten_1", now: datetime = NOW
) -> File:
    return known.get_many(session, tenant_id=tenant_id, file_ids=[file_id], now=now)[file_id]


def test_a_known_file_needs_no_query(sessions: sessionmaker[Session], file_id: str) -> None:
    known = KnownFiles()
    with sessions() as session:
        look(known, session, file_id)
        session.rollback()
    with sessions() as session:
        file = look(known, session, file_id)
        assert not session.in_transaction()
    assert (file.width, file.storage_key) == (640, "ab/ab")


def test_another_tenant_does_not_know_it(sessions: sessionmaker[Session], file_id: str) -> None:
    known = KnownFiles()
    with sessions() as session:
        look(known, session, file_id)
        with pytest.raises(NotFoundError):
            look(known, session, file_id, tenant_id="ten_2")


def test_it_is_asked_for_again_after_its_time(
    sessions: sessionmaker[Session], file_id: str
) -> None:
    clock = Clock()
    known = KnownFiles(clock=clock)
    with sessions() as session:
        look(known, session, file_id)
        session.execute(text("DELETE FROM file"))
        look(known, session, file_id)
        clock.at = TTL_S
        with pytest.raises(NotFoundError):
            look(known, session, file_id)


def test_an_expired_file_is_not_known(sessions: sessionmaker[Session], file_id: str) -> None:
    known = KnownFiles()
    with sessions() as session:
        look(known, session, file_id)
        with pytest.raises(NotFoundError):
            look(known, session, file_id, now=NOW + timedelta(hours=25))
