"""A tenant's own weights over HTTP: in after a trial, private, priced as their base."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from app.api import own_models
from app.api.services import Services
from app.files.garbage import Garbage, collect_garbage
from app.weights import service
from tests.app.api.callers import Caller, Traces, assert_problem, job_body
from tests.app.api.test_openapi import fits
from tests.engines.foreign import hostile
from tests.networks import write_one_box


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_one_box(tmp_path_factory.mktemp("own") / "own.onnx").read_bytes()


def form(content: bytes | None, **fields: str) -> dict[str, Any]:
    parts = [
        f'--mark\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if content is not None:
        head = b'--mark\r\nContent-Disposition: form-data; name="weights"; filename="a.onnx"\r\n'
        parts.append(head + b"\r\n" + content + b"\r\n")
    kind = "multipart/form-data; boundary=mark"
    return {"data": b"".join(parts) + b"--mark--\r\n", "content_type": kind}


def offer(caller: Caller, content: bytes | None, **fields: Any) -> TestResponse:
    headers = fields.pop("headers", {})
    asked = {"name": "signs", "base": "yolov8s", **fields}
    return caller.post("/v1/models", **form(content, **asked), headers=headers)


def test_a_good_file_becomes_a_model_that_only_its_tenant_knows(
    app: APIFlask, caller: Caller, stranger: Caller, weights: bytes, photo: bytes
) -> None:
    made = offer(caller, weights, licence="AGPL-3.0")
    assert made.status_code == 201, made.text
    fits(app, made)
    assert made.json["id"] == "signs@1"
    assert made.json["sha256"] == hashlib.sha256(weights).hexdigest()
    assert "limits" in made.json["confined_by"]
    assert made.headers["Location"] == "/v1/models/signs@1"
    fits(app, caller.get("/v1/models/signs"))
    listed = caller.get("/v1/models")
    fits(app, listed)
    own = [m for e in listed.json["data"] for m in e["models"] if m["name"] == "signs"]
    assert [(m["base"], m["active"]) for m in own] == [("yolov8s", True)]
    assert "signs" not in stranger.get("/v1/models").text
    for call in (stranger.get, lambda path: stranger.send("DELETE", path)):
        assert_problem(call("/v1/models/signs@1"), status=404, code="model_not_found")
    theirs = stranger.upload(photo).json["id"]
    refused = stranger.post("/v1/quotes", json=job_body(theirs, model="signs"))
    assert refused.json["code"] == "unknown_model"


def test_it_is_quoted_and_accepted_at_the_price_of_its_base(
    caller: Caller, weights: bytes, file_id: str
) -> None:
    offer(caller, weights)
    mine = job_body(file_id, model="signs", params={"img_size": 960})
    base = job_body(file_id, model="yolov8s", params={"img_size": 960})
    quoted = caller.post("/v1/quotes", json=mine).json
    assert quoted["tokens"] == caller.post("/v1/quotes", json=base).json["tokens"] == 2.25
    assert quoted["model"] == "signs@1"
    job = caller.post("/v1/jobs", json=mine)
    assert (job.status_code, job.json["model"]) == (202, "signs@1")


def test_versions_rise_and_are_never_given_twice(
    app: APIFlask, caller: Caller, weights: bytes, file_id: str
) -> None:
    assert [offer(caller, weights).json["id"] for _ in range(2)] == ["signs@1", "signs@2"]
    gone = caller.send("DELETE", "/v1/models/signs@2")
    fits(app, gone)
    assert caller.get("/v1/models/signs").json["id"] == "signs@1"
    assert offer(caller, weights).json["id"] == "signs@3"
    for model in ("signs@2", "signs@9", "signs@x", "sign"):
        answer = caller.post("/v1/quotes", json=job_body(file_id, model=model))
        assert_problem(answer, status=422, code="unknown_model")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (hostile.zip_archive(), "not_onnx"),
        (hostile.python_pickle(), "not_onnx"),
        (b"", "not_onnx"),
        (hostile.external_data(Path("/etc/passwd")), "weights_external_data"),
        (hostile.custom_operator(), "weights_operator_forbidden"),
        (hostile.six_gigabytes(), "weights_too_hungry"),
        (hostile.wrong_input_name(), "weights_unreadable"),
        (hostile.plain(value=float("nan")), "network_output_invalid"),
        (hostile.plain(rows=10), "classes_mismatch"),
    ],
)
def test_bad_weights_are_refused_and_nothing_is_kept(
    caller: Caller, traces: Traces, content: bytes, code: str
) -> None:
    before = traces.look()
    assert_problem(offer(caller, content), status=422, code=code)
    assert traces.look() == before
    assert_problem(caller.get("/v1/models/signs"), status=404, code="model_not_found")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"name": "yolov8s"}, 409, "name_taken"),
        ({"name": "Signs"}, 422, "invalid_request"),
        ({"name": "a/b"}, 422, "invalid_request"),
        ({"base": "yolov9000"}, 422, "unknown_model"),
        ({"base": "builtin"}, 422, "base_unsuitable"),
        ({"engine": "colorize", "base": "tiny"}, 422, "base_unsuitable"),
        ({"engine": "mining"}, 422, "unknown_engine"),
        ({"sha256": "0" * 64}, 422, "weights_corrupt"),
        ({"sha256": "xyz"}, 422, "invalid_request"),
    ],
)
def test_an_offer_that_cannot_be_is_refused(
    caller: Caller, weights: bytes, fields: dict[str, str], status: int, code: str
) -> None:
    assert_problem(offer(caller, weights, **fields), status=status, code=code)


def test_the_file_and_its_name_are_needed(caller: Caller, weights: bytes) -> None:
    assert_problem(offer(caller, None), status=400, code="missing_part")
    bare = caller.post("/v1/models", **form(weights, base="yolov8s"))
    assert_problem(bare, status=422, code="invalid_request")
    odd = offer(caller, weights, price="0")
    assert_problem(odd, status=400, code="unknown_part")


def test_one_key_is_one_model(caller: Caller, weights: bytes) -> None:
    first = offer(caller, weights, headers={"Idempotency-Key": "once"})
    again = offer(caller, weights, headers={"Idempotency-Key": "once"})
    assert first.json == again.json
    other = offer(caller, weights, name="other", headers={"Idempotency-Key": "once"})
    assert_problem(other, status=409, code="idempotency_mismatch")


def test_a_tenant_keeps_a_bounded_number(
    caller: Caller, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MODELS_MAX", 1)
    assert offer(caller, weights).status_code == 201
    assert_problem(offer(caller, weights), status=409, code="too_many_models")


def test_while_others_are_tried_the_next_one_is_told_to_come_again(
    caller: Caller, kit: Services, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_models, "GATE_WAIT_S", 0.01)
    while kit.trials.acquire(blocking=False):
        pass
    assert_problem(offer(caller, weights), status=503, code="overloaded")


def test_the_sweeper_keeps_living_weights_and_takes_dead_ones(
    caller: Caller, kit: Services, weights: bytes, sessions: sessionmaker[Session]
) -> None:
    offer(caller, weights)
    now = datetime.now(UTC)
    assert collect_garbage(sessions, kit.storage, now=now, orphan_age_s=-1) == Garbage()
    caller.send("DELETE", "/v1/models/signs")
    assert list(kit.storage.keys(older_than_s=-1)) == []
