"""A refused request leaves no file, wherever its inputs came from."""

import base64
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import InvalidRequestError, TooLargeError
from app.files.intake import IntakeDesk, decode_data_uri
from app.files.models import File
from app.storage import FileStorage
from engines.spec import MediaInfo, MediaKind

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
INFO = MediaInfo(kind=MediaKind.IMAGE, media_type="image/png", bytes=4, width=2, height=3)
PNG = "data:image/png;base64," + base64.b64encode(b"data").decode()


def _no_network(url: str) -> BinaryIO:
    raise AssertionError(url)


def _desk(
    storage: FileStorage, fetch: Callable[[str], BinaryIO] = _no_network, max_bytes: int = 100
) -> IntakeDesk:
    return IntakeDesk(storage=storage, probe=lambda path: INFO, fetch=fetch, max_bytes=max_bytes)


def _left_in(storage: FileStorage) -> list[Path]:
    root = storage.path("00/" + "0" * 32).parents[2]
    return [path for path in root.rglob("*") if path.is_file()]


def _rows(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(File)) or 0


def test_parts_data_and_addresses_become_files_of_the_tenant(
    session: Session, storage: FileStorage, tenants: tuple[str, str]
) -> None:
    fetched: list[str] = []

    def fetch(url: str) -> BinaryIO:
        fetched.append(url)
        return io.BytesIO(b"from far")

    with _desk(storage, fetch).open(session, tenant_id=tenants[0], now=NOW) as intake:
        part = intake.store(io.BytesIO(b"part"), name="p.png")
        data = intake.store_data_uri(PNG)
        url = intake.store_url("https://example.com/photos/cat.png?size=1")
        session.commit()
    assert fetched == ["https://example.com/photos/cat.png?size=1"]
    assert [file.name for file in (part, data, url)] == ["p.png", "unnamed", "cat.png"]
    assert storage.path(data.storage_key).read_bytes() == b"data"
    assert _rows(session) == 3


def test_a_request_that_fails_later_takes_its_files_with_it(
    session: Session, storage: FileStorage, tenants: tuple[str, str]
) -> None:
    def fail() -> None:
        with _desk(storage).open(session, tenant_id=tenants[0], now=NOW) as intake:
            intake.store_data_uri(PNG)
            raise RuntimeError("no balance")

    with pytest.raises(RuntimeError):
        fail()
    session.rollback()
    assert _left_in(storage) == []
    assert _rows(session) == 0


def test_a_quote_keeps_nothing(
    session: Session, storage: FileStorage, tenants: tuple[str, str]
) -> None:
    with _desk(storage).open(session, tenant_id=tenants[0], now=NOW, keep=False) as intake:
        intake.store_data_uri(PNG)
    session.rollback()
    assert _left_in(storage) == []


def test_files_can_be_withdrawn_while_the_transaction_goes_on(
    session: Session, storage: FileStorage, tenants: tuple[str, str]
) -> None:
    with _desk(storage).open(session, tenant_id=tenants[0], now=NOW) as intake:
        intake.store_data_uri(PNG)
        intake.withdraw()
        session.commit()
    assert _left_in(storage) == []
    assert _rows(session) == 0


@pytest.mark.parametrize(
    "text",
    ["", "data:", "data:image/png,AAAA", "data:image/png;base64,A", "data:image/png;base64,é",
     "data:image/png;base64,AA AA", "https://example.com/", "data:;charset=x;utf8,x"],
)  # fmt: skip
def test_what_is_no_data_uri_says_so(text: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        decode_data_uri(text)
    assert refusal.value.code == "data_uri_malformed"


def test_data_uris_may_name_parameters_or_nothing() -> None:
    assert decode_data_uri("data:;base64,AAAA") == b"\0\0\0"
    assert decode_data_uri("data:image/svg+xml;charset=utf-8;base64,AAAA") == b"\0\0\0"


def test_inline_data_is_bounded() -> None:
    with pytest.raises(TooLargeError):
        decode_data_uri("data:image/png;base64," + "A" * 40_000_000)
