"""`pixelmeter admin faces` on a real database."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from app.cli.main import cli
from tests.workers.miniature import SECRET

Run = Callable[..., Result]

VECTOR = np.linspace(-1, 1, 64, dtype=np.float32)
OPTIONS = ("--model", "net@1", "--reason", "a court said so")


@pytest.fixture
def invoke(database_url: str, tmp_path) -> Run:
    environment = {
        "DATABASE_URL": database_url,
        "PIXELMETER_HOME": str(tmp_path),
        "PIXELMETER_SECRET_KEY": SECRET,
        "COLUMNS": "160",
    }
    return lambda *arguments: CliRunner().invoke(cli, [str(a) for a in arguments], env=environment)


@pytest.fixture
def vector(tmp_path):
    path = tmp_path / "face.npy"
    np.save(path, VECTOR)
    return path


def test_a_face_is_blocked_listed_and_let_through(invoke, vector, tmp_path, sessions):
    done = invoke("admin", "faces", "block", vector, *OPTIONS)
    assert done.exit_code == 0, done.output
    face_id = done.output.split()[-1]
    as_json = tmp_path / "face.json"
    as_json.write_text(json.dumps((-VECTOR).tolist()))
    assert invoke("admin", "faces", "block", as_json, *OPTIONS).exit_code == 0
    listed = invoke("admin", "faces", "list")
    assert face_id in listed.output
    assert "a court said so" in listed.output
    assert invoke("admin", "faces", "unblock", face_id).exit_code == 0
    assert face_id not in invoke("admin", "faces", "list").output
    with sessions() as session:
        log = session.execute(text("SELECT actor, action FROM billing.audit_action")).all()
    assert [tuple(row) for row in log if row.action.startswith("face")] == [
        ("cli", "face.block"),
        ("cli", "face.block"),
        ("cli", "face.unblock"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", "{}"), ("a.json", "no json"), ("a.npy", "no array"), ("a.json", "[[1],[2,3]]")],
)
def test_a_file_without_a_vector_is_told(invoke, tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    done = invoke("admin", "faces", "block", path, *OPTIONS)
    assert done.exit_code != 0
    assert "holds no vector" in done.output or "numbers" in str(done.exception)


def test_the_embeddings_of_a_tenant_are_erased(invoke):
    assert invoke("admin", "tenants", "create", "acme").exit_code == 0
    done = invoke("admin", "faces", "erase", "acme")
    assert done.exit_code == 0, done.output
    assert done.output.strip() == "erased 0 embeddings of acme; 0 are left."
    assert invoke("admin", "faces", "erase", "nobody").exit_code != 0
