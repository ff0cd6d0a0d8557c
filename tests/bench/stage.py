"""What the accept benchmark starts from: tables, prices, a tenant with tokens, a picture."""

import json
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import text

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
    headers: dict[str, str]  # of every request
    picture: bytes

    def job_body(self, port: int) -> dict[str, object]:
        """Upload the picture and return a job on it: a small detection that is quoted and held."""
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        )
        upload = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/files",
            data=head.encode() + self.picture + f"\r\n--{BOUNDARY}--\r\n".encode(),
            headers={**self.headers, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
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


def prepare(dsn: str, folder: Path) -> Staged:
    """Make both sides' tables, publish the prices and give one tenant a key and many tokens."""
    migrate(dsn)
    engine = open_engine(dsn, pool_size=1)
    with session_factory(engine).begin() as session:
        session.execute(text(BARE_TABLE))
        now = datetime.now(UTC)
        publish_catalogue(session, now)
        tenant = create_tenant(
            session, name="bench", box=open_secret_box(secret_key=SECRET, home=folder)
        )
        issue(
            session,
            tenant=tenant.id,
            amount=from_number(TOKENS),
            kind="grant",
            idem_key="bench",
            actor="bench",
            now=now,
        )
        key = create_key(session, tenant_id=tenant.id).minted.key
    engine.dispose()
    environment = {
        "PIXELMETER_HOME": str(folder / "home"),
        "PIXELMETER_SECRET_KEY": SECRET,
        "STORAGE_URL": f"file://{folder / 'files'}",
    }
    return Staged(environment, {"Authorization": f"Bearer {key}"}, _picture())


def _picture() -> bytes:
    import cv2

    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", noise)[1].tobytes())
