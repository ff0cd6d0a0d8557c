"""Face fusion for clients that send two files and follow one address; the real engine runs."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api import create_app
from app.api.compat import synchronous
from app.api.incoming import JSON_BYTES_MAX
from app.api.services import EXTENSION, Services
from app.secret_box import SecretBox
from app.settings import MissingSettingError, Settings, load_settings
from app.tenants.demo import bootstrap_demo
from engines.media.provenance import read_origin
from engines.spec import EngineResult
from tests.app.api.callers import Caller, Traces, assert_problem
from tests.app.api.conftest import SECRET
from tests.app.api.test_openapi import fits
from workers.run_job import execute
from workers.services import Services as WorkerServices
from workers.settle import drain

PATH = "/v1/face-swap"
FILES = ("source", "target")


def form(content: bytes, *, files: tuple[str, ...] = FILES, **fields: str) -> dict[str, Any]:
    parts = [
        f'--mark\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="a.jpg"'
        parts.append(f"--mark\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    kind = "multipart/form-data; boundary=mark"
    return {"data": b"".join(parts) + b"--mark--\r\n", "content_type": kind}


@pytest.fixture
def workers(settings: Settings) -> Iterator[WorkerServices]:
    """What workers in this process share."""
    services = WorkerServices(settings)
    yield services
    services.close()


@pytest.fixture
def worker(workers: WorkerServices, sessions: sessionmaker[Session]) -> Iterator[None]:
    """A GPU worker and a billing worker, in this process."""
    services, over = workers, threading.Event()

    def attend() -> None:
        while not over.wait(0.02):
            with sessions() as session:
                waiting = session.scalars(text("SELECT id FROM job WHERE status = 'queued'")).all()
            for job_id in waiting:
                execute(services, job_id=job_id, worker="gpu1@test")
            drain(services)

    thread = threading.Thread(target=attend)
    thread.start()
    yield
    over.set()
    thread.join(30)


@pytest.mark.usefixtures("worker")
def test_two_files_give_a_link_to_the_result_and_what_it_cost(app, caller, portrait, tmp_path):
    answer = caller.post(PATH, **form(portrait, enhance_level="2", token_quota="9", consent="true"))
    assert answer.status_code == 200, answer.text
    fits(app, answer)
    usage = answer.json["usage"]
    assert usage["tokens"] == 9
    assert usage["remaining_tokens"] == caller.get("/v1/balance").json["available"] == 991
    path = answer.json["output_url"].removeprefix("http://pixelmeter.test")
    result = caller.client.get(path)  # no key: the link is signed
    assert result.status_code == 200
    assert Image.open(BytesIO(result.data)).size == (512, 512)
    kept = tmp_path / "result.jpg"
    kept.write_bytes(result.data)
    assert (read_origin(kept).aigc or {})["ProduceID"] == answer.json["id"]
    job = caller.get(f"/v1/jobs/{answer.json['id']}").json
    assert (job["engine"], job["priority"], job["status"]) == (
        "face-swap",
        "interactive",
        "succeeded",
    )


@pytest.mark.usefixtures("worker")
def test_consent_may_be_written_as_many_clients_write_truth(caller, portrait):
    assert caller.post(PATH, **form(portrait, consent="True")).status_code == 200


@pytest.mark.usefixtures("worker")
def test_a_tenant_on_the_card_by_compute_time_pays_by_stage(
    caller, admin, portrait, workers, monkeypatch
):
    """The engine runs; its clock is set to the times of the worked example: 1 + 2 + 3 + 1."""
    engine = workers.registry.engine("face-swap")
    run = type(engine).run
    stages = {"detect": 20.0, "embed": 30.0, "swap": 60.0, "blend": 10.0}

    def timed(*arguments: Any) -> EngineResult:
        result = run(engine, *arguments)
        assert set(result.usage.stages_ms) <= set(stages)
        return replace(result, usage=replace(result.usage, stages_ms=stages))

    monkeypatch.setattr(engine, "run", timed, raising=False)
    choice = {"card": "facefusion-gpu", "engine": "face-swap"}
    path = f"/v1/admin/tenants/{caller.tenant_id}/card"
    assert admin.post(path, json=choice).status_code == 200
    answer = caller.post(PATH, **form(portrait, consent="true"))
    assert answer.status_code == 200, answer.text
    usage = answer.json["usage"]
    assert (usage["tokens"], usage["gpu_ms"], usage["stages"]) == (7, 120, stages)
    assert {line["name"]: line["tokens"] for line in usage["breakdown"]} == {
        "detect": 1,
        "embed": 2,
        "swap": 3,
        "blend": 1,
    }


@pytest.mark.usefixtures("worker")
def test_a_result_without_a_face_to_swap_is_the_jobs_own_problem(caller, photo):
    answer = caller.post(PATH, **form(photo, consent="true"))
    assert_problem(answer, status=422, code="no_face_found")
    assert caller.get("/v1/balance").json["available"] == 1000


def test_what_takes_longer_is_answered_with_the_job(app, caller, portrait, monkeypatch):
    monkeypatch.setattr(synchronous, "WAIT_S", 0.1)
    answer = caller.post(PATH, **form(portrait, consent="true"))
    assert answer.status_code == 202
    assert answer.json["status"] == "queued"
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"


def test_a_quota_below_the_quote_is_402_and_nothing_is_kept(caller, portrait, traces: Traces):
    before = traces.look()
    answer = caller.post(PATH, **form(portrait, token_quota="8", enhance_level="2", consent="true"))
    assert_problem(answer, status=402, code="token_quota_exceeded")
    assert traces.look() == before


def test_without_a_balance_it_is_402_and_nothing_is_kept(pauper, portrait, traces: Traces):
    before = traces.look()
    answer = pauper.post(PATH, **form(portrait, consent="true"))
    assert_problem(answer, status=402, code="insufficient_tokens")
    assert traces.look() == before


WRONG = [
    (("target",), {}, (400, "missing_part")),
    (("source",), {}, (400, "missing_part")),
    ((), {}, (400, "missing_part")),
    (("source", "source", "target"), {}, (400, "duplicate_part")),
    (("source", "target", "face"), {}, (400, "unknown_part")),
    (FILES, {"level": "2"}, (400, "unknown_part")),
    (FILES, {"enhance_level": "4"}, (422, "invalid_params")),
    (FILES, {"enhance_level": "-1"}, (422, "invalid_params")),
    (FILES, {"enhance_level": "2.5"}, (422, "invalid_request")),
    (FILES, {"enhance_level": "true"}, (422, "invalid_request")),
    (FILES, {"enhance_level": "high"}, (400, "json_invalid")),
    (FILES, {"enhance_level": ""}, (400, "json_empty")),
    (FILES, {"token_quota": "-1"}, (422, "invalid_request")),
    (FILES, {"token_quota": "NaN"}, (400, "json_number_not_finite")),
    (FILES, {"token_quota": "1e400"}, (400, "json_number_not_finite")),
    (FILES, {"token_quota": "0.0000001"}, (422, "invalid_request")),
    (FILES, {"consent": "yes"}, (400, "json_invalid")),
    (FILES, {"consent": "1"}, (422, "invalid_request")),
    (FILES, {"consent": "false"}, (422, "consent_required")),
    (FILES, {"model": "nobody"}, (422, "unknown_model")),
    (FILES, {"model": "a\x00b"}, (422, "invalid_request")),
]


def test_what_is_wrong_is_told_and_leaves_nothing(caller, portrait, traces: Traces):
    before = traces.look()
    for files, fields, (status, code) in WRONG:
        answer = caller.post(PATH, **form(portrait, files=files, **{"consent": "true", **fields}))
        assert_problem(answer, status=status, code=code)
    assert traces.look() == before


def test_files_may_be_larger_than_other_bodies(caller):
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(noise).save(stream, format="PNG")
    assert len(stream.getvalue()) > JSON_BYTES_MAX
    answer = caller.post(PATH, **form(stream.getvalue()))
    assert_problem(answer, status=422, code="consent_required")


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "empty_file"), (b"<html>", "unsupported_media")]
)
def test_what_is_no_picture_is_refused(caller, traces: Traces, content, code):
    before = traces.look()
    answer = caller.post(PATH, **form(content, consent="true"))
    assert_problem(answer, status=422, code=code)
    assert traces.look() == before


def test_only_a_form_is_taken(caller):
    answer = caller.post(PATH, json={"source": "a", "target": "b"})
    assert_problem(answer, status=415, code="unsupported_media_type")


@pytest.fixture
def open_server(settings: Settings, app: APIFlask) -> Iterator[APIFlask]:
    """A development server that asks no face-swap client for a key."""
    opened = create_app(replace(settings, allow_anonymous=True))
    kit: Services = opened.extensions[EXTENSION]
    own: Services = app.extensions[EXTENSION]
    opened.extensions[EXTENSION] = replace(
        kit, prober=own.prober, desk=replace(kit.desk, probe=own.prober)
    )
    yield opened
    kit.settled.close()
    kit.bell.close()
    with opened.app_context():
        kit.database.engine.dispose()


@pytest.fixture
def demo(caller: Caller, sessions: sessionmaker[Session]) -> str:
    with sessions.begin() as session:
        now = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return bootstrap_demo(session, box=SecretBox(SECRET), now=now).tenant_id


@pytest.mark.usefixtures("worker", "demo")
def test_a_development_server_takes_a_client_without_a_key(open_server, portrait, sessions):
    answer = open_server.test_client().post(PATH, **form(portrait, enhance_level="1"))
    assert answer.status_code == 200, answer.text
    assert answer.json["usage"]["tokens"] == 6
    assert answer.json["usage"]["remaining_tokens"] == 9994
    with sessions() as session:
        row = session.execute(text("SELECT api_key_id, consent_basis FROM job")).one()
    assert tuple(row) == ("anonymous", "contract")


@pytest.mark.usefixtures("demo")
def test_nothing_else_is_open_there_and_nobody_from_elsewhere(open_server, portrait):
    client: FlaskClient = open_server.test_client()
    assert_problem(client.get("/v1/balance"), status=401, code="unauthenticated")
    elsewhere = {"environ_base": {"REMOTE_ADDR": "10.0.0.7"}}
    answer = client.post(PATH, **form(portrait), **elsewhere)
    assert_problem(answer, status=401, code="unauthenticated")
    wrong = client.post(PATH, **form(portrait), headers={"Authorization": "Bearer pm_live_x"})
    assert_problem(wrong, status=401, code="key_malformed")


def test_without_a_demo_tenant_nobody_is_let_in(open_server, portrait, caller):
    answer = open_server.test_client().post(PATH, **form(portrait))
    assert_problem(answer, status=401, code="unauthenticated")


def test_every_other_server_asks_for_a_key(client, portrait, demo):
    assert_problem(client.post(PATH, **form(portrait)), status=401, code="unauthenticated")


def test_a_server_that_others_reach_does_not_start_open():
    said = {"PIXELMETER_ALLOW_ANONYMOUS": "true", "PIXELMETER_URL": "https://api.example.com"}
    with pytest.raises(MissingSettingError, match=r"api\.example\.com"):
        load_settings(said)
    assert load_settings({"PIXELMETER_ALLOW_ANONYMOUS": "true"}).allow_anonymous
    assert not load_settings({}).allow_anonymous
