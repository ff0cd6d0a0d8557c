"""Shops for the tests of jobs."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.catalog.service import Catalog
from app.catalog.shelf import CardShelf
from app.files.intake import IntakeDesk
from app.files.models import File
from app.secret_box import SecretBox
from app.storage import FileStorage
from app.tenants.service import Principal, create_key, create_tenant
from billing.amounts import from_number
from billing.cards import publish_catalogue
from billing.grants import issue
from engines.manifest import shipped_folders
from engines.registry import Registry
from tests.app.jobs.shop import INFO, Shop


@pytest.fixture
def open_shop(sessions: sessionmaker[Session], tmp_path: Path) -> Callable[..., Shop]:
    """Open shops in one database: each with its own tenant."""
    now = datetime.now(UTC)
    with sessions.begin() as session:
        publish_catalogue(session, now)
    box = SecretBox("the secret of these tests")
    storage = FileStorage(tmp_path / "storage")
    registry = Registry(shipped_folders(), store=tmp_path / "models")
    catalog = Catalog(registry, CardShelf())

    def no_network(url: str) -> BinaryIO:
        raise AssertionError(url)

    desk = IntakeDesk(storage=storage, probe=lambda path: INFO, fetch=no_network, max_bytes=1000)

    def build(name: str = "acme", *, tokens: float = 100, consent_mode: str = "request") -> Shop:
        with sessions() as session, session.begin():
            tenant = create_tenant(session, name=name, box=box, consent_mode=consent_mode)
            if tokens:
                issue(
                    session,
                    tenant=tenant.id,
                    amount=from_number(tokens),
                    kind="purchase",
                    idem_key="first",
                    actor="test",
                    now=now,
                )
            key = create_key(session, tenant_id=tenant.id)
            with desk.open(session, tenant_id=tenant.id, now=now) as intake:
                picture: File = intake.store(io.BytesIO(b"data"), name="a.png")
        caller = Principal(
            tenant_id=tenant.id,
            project_id=None,
            key_id=key.id,
            role="tenant",
            consent_mode=consent_mode,
        )
        return Shop(sessions, catalog, box, desk, storage, caller, picture.id)

    return build


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop()
