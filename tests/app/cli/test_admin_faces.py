"""`pixelmeter admin faces` on a real database."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage
from click.testing import CliRunner, Result
from PIL import Image
from sqlalchemy import text

from app.cli.main import cli
from app.faces.blocklist import load
from app.secret_box import open_secret_box
from engines.face_swap.identity import identify
from engines.registry import Services, open_registry
from tests.workers.miniature import SECRET

Run = Callable[..., Result]

VECTOR = np.linspace(-1, 1, 64, dtype=np.float32)
OPTIONS = ("--model", "net@1", "--reason", "a court said so")


@pytest.fixture
def environment(database_url: str, tmp_path) -> dict[str, str]:
    """Without weights, until a test names some."""
    return {
        "DATABASE_URL": database_url,
        "PIXELMETER_HOME": str(tmp_path),
        "PIXELMETER_SECRET_KEY": SECRET,
        "COLUMNS": "160",
        "PIXELMETER_MODEL_MIRROR": "",
    }


@pytest.fixture
def invoke(environment) -> Run:
    return lambda *arguments: CliRunner().invoke(cli, [str(a) for a in arguments], env=environment)


@pytest.fixture
def vector(tmp_path):
    path = tmp_path / "face.npy"
    np.save(path, VECTOR)
    return path


def test_a_face_is_blocked_listed_and_let_through(invoke, vector, tmp_path, sessions):
    done = invoke("admin", "faces", "block", vector, *OPTIONS)
    assert done.exit_code == 0, done.output
    face_id = done.output.split()[1]
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


def test_a_face_is_blocked_by_its_picture_for_every_embedder_here(
    invoke, environment, model_mirror, sessions, tmp_path
):
    environment["PIXELMETER_MODEL_MIRROR"] = str(model_mirror)
    portrait = Path(skimage.__file__).parent / "data" / "astronaut.png"
    done = invoke("admin", "faces", "block", portrait, "--reason", "asked for")
    assert done.exit_code == 0, done.output
    assert done.output.split()[1] in invoke("admin", "faces", "list").output
    vector = identify(services_of(model_mirror, tmp_path), portrait)
    box = open_secret_box(secret_key=SECRET, home=tmp_path)
    with sessions() as session:
        for model, each in vector.items():
            assert load(session, box, model=model).holds(each)


def services_of(mirror, home):
    registry = open_registry(store=home / "models", mirror=str(mirror))
    return Services(registry=registry, sessions=registry.sessions, limits=registry.limits)


def test_a_picture_without_one_face_or_without_an_embedder_is_told(
    invoke, environment, model_mirror, tmp_path
):
    cat = Path(skimage.__file__).parent / "data" / "chelsea.png"
    done = invoke("admin", "faces", "block", cat, "--reason", "asked for")
    assert done.exit_code == 1
    assert "nothing here tells persons apart" in done.output
    environment["PIXELMETER_MODEL_MIRROR"] = str(model_mirror)
    blank = tmp_path / "blank.png"
    Image.new("RGB", (200, 200)).save(blank)
    done = invoke("admin", "faces", "block", blank, "--reason", "asked for")
    assert done.exit_code == 1
    assert "no face" in done.output


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
