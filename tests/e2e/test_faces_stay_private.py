"""Real jobs with a face: in no log or table, erased on demand, refused where it is blocked."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.db import open_engine, session_factory
from app.faces.embeddings import find
from app.secret_box import open_secret_box


@dataclass(frozen=True)
class Portrait:
    """A face that only these tests send, and how to swap it once more."""

    path: Path
    swap: Callable[[], dict[str, Any]]

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@pytest.fixture
def portrait(client, photos, tmp_path, model_mirror):
    """With the weights that tell faces apart."""
    path = tmp_path / "canary.png"
    with Image.open(photos.hopper) as photo:
        photo.convert("RGB").crop((3, 3, photo.width - 3, photo.height - 3)).save(path)
    target, source = (client.upload(each)["id"] for each in (photos.astronaut, path))

    def swap():
        job = {
            "engine": "face-swap",
            "model": "classical",
            "input": {"target": {"file": target}, "source": {"file": source}},
            "cache": False,
        }
        return client.wait(client.submit(job)["id"], timeout_s=120)

    return Portrait(path, swap)


def embedding_of(platform, portrait, job):
    """What was kept of the face, opened with the installation's own secret."""
    data, secret = job["output"]["data"], platform.environment.get("PIXELMETER_SECRET_KEY")
    [(tenant,)] = platform.query("SELECT tenant_id FROM job WHERE id = %s", job["id"])
    engine = open_engine(platform.state["database_url"])
    with session_factory(engine)() as session:
        found = find(
            session,
            open_secret_box(secret_key=secret, home=platform.folder),
            tenant_id=tenant,
            model=f"{data['embedder']}/{data['detector']}",
            sha256=portrait.sha256,
        )
    engine.dispose()
    assert found is not None, "its embedding was not kept, so nothing would be tested"
    return found


def everything_in(platform):
    """Every row of every table as PostgreSQL writes it, by table."""
    tables = platform.query(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
        " WHERE schemaname IN ('public', 'billing')"
    )
    return {
        table: "\n".join(row[0] for row in platform.query(f"SELECT t::text FROM {table} t"))
        for (table,) in tables
    }


def traces_of(content, vector):
    """Ways in which bytes of the picture or numbers of the vector could stand in a text."""
    return {
        "bytes of the picture": content[2001:2031].hex(),
        "the picture in base64": base64.b64encode(content)[2000:2040].decode(),
        "numbers in hexadecimal": vector[:3].tobytes().hex(),
        "numbers in base64": base64.b64encode(vector[:9].tobytes()).decode()[:40],
        "other numbers in hexadecimal": vector[:3].astype(">f4").tobytes().hex(),
        "a number in decimals": f"{float(vector[0]):.8f}"[:-1],
    }


def test_no_log_and_no_table_holds_the_face_and_erasing_forgets_it(platform, http, portrait):
    first, second = portrait.swap(), portrait.swap()
    assert [job["usage"]["cached_embeddings"] for job in (first, second)] == [0, 1]
    assert [job["usage"]["tokens"] for job in (first, second)] == [6, 3]
    vector = np.asarray(embedding_of(platform, portrait, second))
    logs = {path.name: path.read_text() for path in (platform.folder / "logs").iterdir()}
    assert any(first["id"] in text for text in logs.values())
    for place, text in {**logs, **everything_in(platform)}.items():
        traces = traces_of(portrait.content, vector).items()
        assert [name for name, trace in traces if trace in text] == [], place
    assert [name for name, text in logs.items() if portrait.sha256 in text] == []
    assert http.delete("/v1/embeddings").json()["erased"] >= 1
    mine = "(SELECT tenant_id FROM job WHERE id = %s)"  # others on this platform keep theirs
    left = f"SELECT count(*) FROM face_embedding WHERE tenant_id = {mine}"
    assert platform.query(left, first["id"]) == [(0,)]
    again = portrait.swap()
    assert (again["usage"]["tokens"], again["usage"]["cached_embeddings"]) == (6, 0)


def test_a_blocked_face_is_refused_and_costs_nothing(platform, client, http, portrait):
    done = portrait.swap()
    vector = embedding_of(platform, portrait, done)
    admin = {"Authorization": f"Bearer {platform.dev['admin_key']}"}
    face = {
        "model": done["output"]["data"]["embedder"],
        "vector": vector.tolist(),
        "reason": "asked for by the person",
    }
    blocked = http.post("/v1/admin/blocked-faces", json=face, headers=admin)
    assert blocked.status_code == 201, blocked.text
    before = client.balance()
    try:
        refused = portrait.swap()
    finally:
        path = f"/v1/admin/blocked-faces/{blocked.json()['id']}"
        assert http.delete(path, headers=admin).status_code == 204
    assert (refused["status"], refused["error"]["code"]) == ("failed", "face_blocked")
    assert (refused["usage"]["tokens"], client.balance()) == (0, before)
    assert portrait.swap()["status"] == "succeeded"
