"""What is kept of faces, over HTTP: seen and erased by tenants, blocked by operators."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import EXTENSION, Services
from app.faces import embeddings
from app.faces.blocklist import load
from engines.face_swap.identity import identify
from engines.registry import Services as EngineServices
from engines.registry import open_registry
from tests.app.api.callers import Caller, assert_problem
from tests.app.api.test_openapi import fits

VECTOR = [round(float(x), 3) for x in np.linspace(-1, 1, 64)]
FACE = {"model": "net@1", "vector": VECTOR, "reason": "a court said so"}


@pytest.fixture
def kept(kit: Services, caller: Caller, sessions: sessionmaker[Session]) -> None:
    """Two embeddings of the caller's."""
    with sessions.begin() as session:
        for content in ("aa" * 32, "bb" * 32):
            embeddings.keep(
                session,
                kit.box,
                tenant_id=caller.tenant_id,
                model="net@1",
                sha256=content,
                vector=np.array(VECTOR, dtype=np.float32),
            )


def actions(sessions: sessionmaker[Session]) -> list[tuple]:
    with sessions() as session:
        rows = session.execute(text("SELECT action, actor, subject FROM billing.audit_action"))
        return [tuple(row) for row in rows if row.action.startswith(("face", "embeddings"))]


@pytest.mark.usefixtures("kept")
def test_a_tenant_sees_how_many_are_kept_and_erases_them(app, caller, stranger, sessions):
    seen = caller.get("/v1/embeddings")
    assert seen.json["kept"] == 2
    fits(app, seen)
    assert stranger.get("/v1/embeddings").json == {"object": "embeddings", "kept": 0, "until": None}
    assert stranger.send("DELETE", "/v1/embeddings").json["erased"] == 0
    erased = caller.send("DELETE", "/v1/embeddings")
    assert (erased.status_code, erased.json) == (200, {"object": "erasure", "erased": 2})
    assert caller.get("/v1/embeddings").json["kept"] == 0
    assert [each[0] for each in actions(sessions)] == ["embeddings.erase"] * 2
    assert actions(sessions)[-1][2] == caller.tenant_id


@pytest.mark.usefixtures("kept")
def test_an_operator_erases_them_for_a_tenant(admin, caller, sessions):
    path = f"/v1/admin/tenants/{caller.tenant_id}/embeddings"
    assert_problem(caller.send("DELETE", path), status=403, code="admin_key_required")
    assert admin.send("DELETE", path).json["erased"] == 2
    assert caller.get("/v1/embeddings").json["kept"] == 0
    assert actions(sessions) == [("embeddings.erase", "unnamed", caller.tenant_id)]
    unknown = admin.send("DELETE", "/v1/admin/tenants/ten_unknown/embeddings")
    assert_problem(unknown, status=404, code="tenant_not_found")


def test_an_operators_key_has_no_embeddings_of_its_own(admin):
    assert_problem(admin.get("/v1/embeddings"), status=403, code="tenant_key_required")
    assert_problem(admin.send("DELETE", "/v1/embeddings"), status=403, code="tenant_key_required")


def test_a_face_is_blocked_listed_and_let_through_again(app, admin, sessions):
    made = admin.post("/v1/admin/blocked-faces", json=FACE)
    assert made.status_code == 201, made.text
    fits(app, made)
    assert "vector" not in made.json
    listed = admin.get("/v1/admin/blocked-faces")
    assert listed.json["data"] == [made.json]
    path = f"/v1/admin/blocked-faces/{made.json['id']}"
    assert admin.send("DELETE", path).status_code == 204
    assert_problem(admin.send("DELETE", path), status=404, code="face_not_found")
    assert admin.get("/v1/admin/blocked-faces").json["data"] == []
    assert [each[0] for each in actions(sessions)] == ["face.block", "face.unblock"]


def test_the_same_request_twice_blocks_one_face(admin):
    headers = {"Idempotency-Key": "block-1"}
    first = admin.post("/v1/admin/blocked-faces", json=FACE, headers=headers)
    again = admin.post("/v1/admin/blocked-faces", json=FACE, headers=headers)
    assert first.json == again.json
    assert len(admin.get("/v1/admin/blocked-faces").json["data"]) == 1


def test_a_repeat_does_not_block_again_who_was_let_through_since(admin):
    headers = {"Idempotency-Key": "block-1"}
    made = admin.send("POST", "/v1/admin/blocked-faces", json=FACE, headers=headers)
    admin.send("DELETE", f"/v1/admin/blocked-faces/{made.json['id']}")
    again = admin.send("POST", "/v1/admin/blocked-faces", json=FACE, headers=headers)
    assert_problem(again, status=404, code="face_not_found")
    assert "another key" in again.json["detail"]
    assert admin.get("/v1/admin/blocked-faces").json["data"] == []


def test_tenants_neither_see_nor_change_the_blocklist(caller):
    for method in ("GET", "POST"):
        answer = caller.send(method, "/v1/admin/blocked-faces", json=FACE)
        assert_problem(answer, status=403, code="admin_key_required")


WRONG = [
    ({"vector": [1.0] * 8}, 422, "invalid_face"),
    ({"vector": [0] * 64}, 422, "invalid_face"),
    ({"vector": [1.0] * 5000}, 422, "invalid_request"),
    ({"vector": ["1"] * 64}, 422, "invalid_request"),
    ({"vector": "AAAA"}, 422, "invalid_request"),
    ({"vector": None}, 422, "invalid_request"),
    ({"threshold": 0}, 422, "invalid_face"),
    ({"threshold": 2}, 422, "invalid_face"),
    ({"threshold": "0.5"}, 422, "invalid_request"),
    ({"model": ""}, 422, "invalid_face"),
    ({"model": "x" * 129}, 422, "invalid_request"),
    ({"reason": " "}, 422, "reason_missing"),
    ({"vektor": []}, 400, "unknown_field"),
]


def test_what_is_no_face_is_refused_and_leaves_nothing(admin):
    for change, status, code in WRONG:
        answer = admin.post("/v1/admin/blocked-faces", json={**FACE, **change})
        assert_problem(answer, status=status, code=code)
    assert admin.get("/v1/admin/blocked-faces").json["data"] == []


def test_a_number_that_is_not_finite_is_refused_before_anything_looks_at_it(admin):
    body = json.dumps({**FACE, "vector": [float("nan")] * 64})
    answer = admin.post("/v1/admin/blocked-faces", data=body, content_type="application/json")
    assert_problem(answer, status=400, code="json_number_not_finite")


def form(content: bytes, **fields: str):
    parts = [
        f'--mark\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = b'--mark\r\nContent-Disposition: form-data; name="picture"; filename="a.jpg"\r\n\r\n'
    data = b"".join(parts) + head + content + b"\r\n--mark--\r\n"
    return {"data": data, "content_type": "multipart/form-data; boundary=mark"}


PICTURES = "/v1/admin/blocked-faces/pictures"


@pytest.fixture
def with_weights(app, kit, model_mirror):
    """The API beside the weights that tell faces apart."""
    settings = replace(kit.settings, model_mirror=str(model_mirror))
    app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], settings=settings)


@pytest.mark.usefixtures("with_weights")
def test_a_face_is_blocked_by_its_picture_for_every_embedder_here(
    request, admin, portrait, model_mirror, tmp_path
):
    app, kit, sessions = map(request.getfixturevalue, ("app", "kit", "sessions"))
    made = admin.post(PICTURES, **form(portrait, reason="asked for", threshold="0.6"))
    assert made.status_code == 201, made.text
    fits(app, made)
    models = [face["model"] for face in made.json["data"]]
    assert len(models) == len(set(models)) >= 1
    assert {face["threshold"] for face in made.json["data"]} == {0.6}
    path = tmp_path / "portrait.jpg"
    path.write_bytes(portrait)
    registry = open_registry(store=tmp_path / "models", mirror=str(model_mirror))
    found = identify(EngineServices(registry, registry.sessions, registry.limits), path)
    with sessions() as session:
        assert all(load(session, kit.box, model=name).holds(found[name]) for name in models)
    assert admin.post(PICTURES, **form(black(), reason="x")).json["code"] == "no_face_found"


@pytest.mark.usefixtures("with_weights")
def test_the_same_picture_under_the_same_key_is_looked_at_and_blocked_once(
    app, kit, admin, portrait
):
    headers = {"Idempotency-Key": "picture-1"}

    def send(picture, **fields):
        return admin.post(PICTURES, **form(picture, **fields), headers=headers)

    first = send(portrait, reason="asked for")
    assert first.status_code == 201, first.text
    # Nobody could look at it again: there are no weights any more.
    app.extensions[EXTENSION] = kit
    again = send(portrait, reason="asked for")
    assert (again.status_code, again.json) == (201, first.json)
    listed = admin.get("/v1/admin/blocked-faces").json["data"]
    assert len(listed) == len(first.json["data"])
    for changed in (send(black(), reason="asked for"), send(portrait, reason="another")):
        assert_problem(changed, status=409, code="idempotency_mismatch")
    gone = listed[0]["id"]
    admin.send("DELETE", f"/v1/admin/blocked-faces/{gone}")
    left = [face for face in first.json["data"] if face["id"] != gone]
    assert send(portrait, reason="asked for").json["data"] == left


def black() -> bytes:
    return cv2.imencode(".png", np.zeros((200, 200, 3), dtype=np.uint8))[1].tobytes()


def test_without_weights_a_picture_cannot_be_blocked(admin, portrait):
    answer = admin.post(PICTURES, **form(portrait, reason="asked for"))
    assert_problem(answer, status=422, code="weights_missing")


def test_what_is_wrong_with_a_picture_is_told(caller, admin, portrait):
    wrong = {
        "missing_part": admin.post(PICTURES, data={"reason": "x"}),
        "unsupported_media": admin.post(PICTURES, **form(b"<html>", reason="x")),
        "unknown_part": admin.post(PICTURES, **form(portrait, reason="x", model="net@1")),
        "invalid_request": admin.post(PICTURES, **form(portrait)),
        "json_invalid": admin.post(PICTURES, **form(portrait, reason="x", threshold="high")),
        "admin_key_required": caller.post(PICTURES, **form(portrait, reason="x")),
    }
    assert {code: answer.json["code"] for code, answer in wrong.items()} == {
        code: code for code in wrong
    }
    assert admin.get("/v1/admin/blocked-faces").json["data"] == []
