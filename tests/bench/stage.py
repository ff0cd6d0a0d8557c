"""What the accept benchmark starts from: tables, prices, tenants with tokens, a picture."""

import json
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db import open_engine, session_factory
from app.local.migrate import migrate
from app.secret_box import open_secret_box
from app.tenants.service import create_key, create_tenant
from billing.amounts import from_number
from billing.cards import publish_catalogue
from billing.grants import issue
from tests.bench.bare_app import TABLE as BARE_TABLE

SECRET = "the secret of a benchmark, long enough"
TOKENS = 100_000_000
BOUNDARY = "mark"


@dataclass(frozen=True, slots=True)
class Staged:
    """A database that jobs can be submitted to."""

    environment: dict[str, str]  # for the API's process
    keys: tuple[str, ...]  # one tenant each
    picture: bytes

    def job_body(self, port: int, key: str) -> dict[str, object]:
        """Upload the picture and return a job on it: a small detection that is quoted and held."""
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        )
        upload = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/files",
            data=head.encode() + self.picture + f"\r\n--{BOUNDARY}--\r\n".encode(),
            headers={**bearer(key), "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        )
        with urllib.request.urlopen(upload) as answer:
            file_id = json.load(answer)["id"]
        return {
            "engine": "detect",
            "model": "builtin",
            "input": {"target": {"file": file_id}},
            "params": {"conf": 0.25},
            "priority": "normal",
            "metadata": {"k": "v"},
        }


def bearer(key: str) -> dict[str, str]:
    """The header that says who asks."""
    return {"Authorization": f"Bearer {key}"}


def prepare(dsn: str, folder: Path, *, tenants: int) -> Staged:
    """Make both sides' tables, publish the prices and give each tenant a key and many tokens."""
    migrate(dsn)
    engine = open_engine(dsn, pool_size=1)
    with session_factory(engine).begin() as session:
        session.execute(text(BARE_TABLE))
        publish_catalogue(session, datetime.now(UTC))
        keys = tuple(_rich_tenant(session, folder, number) for number in range(tenants))
    engine.dispose()
    environment = {
        "PIXELMETER_HOME": str(folder / "home"),
        "PIXELMETER_SECRET_KEY": SECRET,
        "STORAGE_URL": f"file://{folder / 'files'}",
    }
    return Staged(environment, keys, _picture())


def _rich_tenant(session: Session, folder: Path, number: int) -> str:
    box = open_secret_box(secret_key=SECRET, home=folder)
    tenant = create_tenant(session, name=f"bench {number}", box=box)
    issue(
        session,
        tenant=tenant.id,
        amount=from_number(TOKENS),
        kind="grant",
        idem_key="bench",
        actor="bench",
        now=datetime.now(UTC),
    )
    return create_key(session, tenant_id=tenant.id).minted.key


def _picture() -> bytes:
    import cv2

    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", noise)[1].tobytes())
