"""The API as it is served: gunicorn in a process group of its own, that can be killed."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from sqlalchemy.orm import Session, sessionmaker

from app.local.ports import free_port
from app.secret_box import SecretBox
from app.tenants.service import create_key, create_tenant
from billing.amounts import from_number
from billing.cards import publish_catalogue
from billing.grants import issue

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a secret of the live api, long enough"


@dataclass
class LiveApi:
    """One gunicorn with ``workers`` processes on a database and a storage."""

    home: Path
    database_url: str
    storage_url: str
    settings: dict[str, str] = field(default_factory=dict)
    workers: int = 1
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {
            **os.environ,
            "PIXELMETER_HOME": str(self.home),
            "DATABASE_URL": self.database_url,
            "STORAGE_URL": self.storage_url,
            "PIXELMETER_SECRET_KEY": SECRET,
            "PIXELMETER_URL": self.url,
            **self.settings,
        }
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "api.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn", "-c", "python:app.api.gunicorn_conf"),
                    *("--bind", f"127.0.0.1:{self.port}", "--workers", str(self.workers)),
                    "--no-control-socket",
                ],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/livez").status_code == 200:
                    return
            assert time.monotonic() < deadline, (self.home / "api.log").read_text()[-3000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL for the whole group, as when a machine dies."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """A clean end, or after a while any; probing children end with their parent."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def memory_bytes(self) -> int:
        """Resident memory of the workers together, without probing children."""
        assert self._process is not None
        workers = psutil.Process(self._process.pid).children()
        return sum(each.memory_info().rss for each in workers)


def tenant_with_tokens(sessions: sessionmaker[Session], *, tokens: int = 1000) -> tuple[str, str]:
    """Prices, and a tenant with tokens; returns its id and a key."""
    now = datetime.now(UTC)
    with sessions.begin() as session:
        publish_catalogue(session, now)
        tenant = create_tenant(session, name=secrets.token_hex(4), box=SecretBox(SECRET))
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


@contextlib.contextmanager
def live(api: LiveApi) -> Iterator[LiveApi]:
    api.start()
    try:
        yield api
    finally:
        api.stop()
