"""The whole API in this process, on a real PostgreSQL; tenants with keys and tokens."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import pytest
import skimage
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker

from app.api import create_app
from app.api.services import EXTENSION, Services
from app.batches import completion
from app.files.prober import Prober
from app.secret_box import SecretBox
from app.settings import Settings, load_settings
from app.tenants.service import create_key, create_tenant
from billing.amounts import from_number
from billing.cards import publish_catalogue
from billing.grants import issue
from engines.media.limits import MediaLimits
from tests.app.api.callers import Caller, Traces

SECRET = "a secret of the tests, long enough"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return replace(
        load_settings({}),
        home=tmp_path / "home",
        database_url=database_url,
        storage_url=f"file://{tmp_path / 'files'}",
        base_url="http://pixelmeter.test",
        secret_key=SECRET,
    )


@pytest.fixture(scope="session")
def prober() -> Iterator[Prober]:
    """One probing child for all tests: starting one takes longer than most tests."""
    with Prober(limits=MediaLimits(), children=1) as prober:
        yield prober


@pytest.fixture
def app(settings: Settings, prober: Prober) -> Iterator[APIFlask]:
    app = create_app(settings)
    kit: Services = app.extensions[EXTENSION]
    kit = replace(
        kit,
        prober=prober,
        desk=replace(kit.desk, probe=prober),
        uploads=replace(kit.uploads, probe=prober),
    )
    app.extensions[EXTENSION] = kit
    yield app
    kit.settled.close()
    kit.bell.close()
    with app.app_context():
        kit.database.engine.dispose()


@pytest.fixture
def kit(app: APIFlask) -> Services:
    return app.extensions[EXTENSION]


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    return app.test_client()


def add_tenant(session: Session, name: str, *, tokens: int) -> tuple[str, str]:
    """A tenant with tokens; returns its id and a key."""
    tenant = create_tenant(session, name=name, box=SecretBox(SECRET))
    now = datetime.now(UTC)
    if tokens:
        issue(
            session,
            tenant=tenant.id,
            amount=from_number(tokens),
            kind="grant",
            idem_key="first",
            actor="test",
            now=now,
        )
    return tenant.id, create_key(session, tenant_id=tenant.id).minted.key


@pytest.fixture
def caller(client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    """A tenant with 1 000 tokens, and prices published."""
    with sessions.begin() as session:
        publish_catalogue(session, datetime.now(UTC))
        tenant_id, key = add_tenant(session, "acme", tokens=1000)
    return Caller(client, key, tenant_id)


@pytest.fixture
def stranger(caller: Caller, client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    """Another tenant with tokens."""
    with sessions.begin() as session:
        tenant_id, key = add_tenant(session, "stranger", tokens=1000)
    return Caller(client, key, tenant_id)


@pytest.fixture
def pauper(caller: Caller, client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    """A tenant without a single token."""
    with sessions.begin() as session:
        tenant_id, key = add_tenant(session, "pauper", tokens=0)
    return Caller(client, key, tenant_id)


@pytest.fixture
def admin(client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    with sessions.begin() as session:
        key = create_key(session, tenant_id=None).minted.key
    return Caller(client, key, "")


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A real photograph as PNG, 300 x 451."""
    pixels = skimage.data.chelsea()[:, :, ::-1]
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """A real face as JPEG, 512 x 512."""
    pixels = skimage.data.astronaut()[:, :, ::-1]
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@pytest.fixture
def file_id(caller: Caller, photo: bytes) -> str:
    answer = caller.upload(photo)
    assert answer.status_code == 201, answer.text
    return answer.json["id"]


@pytest.fixture
def traces(sessions: sessionmaker[Session], tmp_path: Path) -> Traces:
    return Traces(sessions, tmp_path / "files")


@pytest.fixture
def end(kit: Services, sessions: sessionmaker[Session]) -> Callable[[], int]:
    """End what is over, as the billing worker does."""
    desk = completion.Desk(kit.storage, kit.links, kit.box)

    def run() -> int:
        with sessions() as session:
            over = completion.over(session)
        ended = 0
        for batch_id in over:
            with sessions.begin() as session:
                ended += completion.finish(session, desk, batch_id=batch_id)
        return ended

    return run
