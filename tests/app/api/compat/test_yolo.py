"""Detection for clients that know one address: a picture's URL in, boxes and tokens out."""

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.compat import synchronous
from app.api.fetching import fetcher
from app.api.services import EXTENSION, Services
from app.jobs.lifecycle import claim, finish
from app.jobs.states import JobStatus
from app.outbound import Limits, OutboundPolicy
from tests.app.api.callers import Caller, Traces, assert_problem, run_and_settle
from tests.app.api.test_openapi import fits
from tests.app.web_server import answering, picture, serving

PATH = "/yolo/detect"
QUICK = Limits(connect_s=1.0, total_s=1.0)


@pytest.fixture
def kit(app: APIFlask) -> Services:
    """URL inputs may reach this machine, and wait a second at most."""
    kit: Services = app.extensions[EXTENSION]
    policy = OutboundPolicy(allow_hosts=frozenset({"127.0.0.1"}), tls=kit.outbound.tls)
    desk = replace(
        kit.desk, fetch=fetcher(policy, kit.storage.scratch, max_bytes=1_000_000, limits=QUICK)
    )
    app.extensions[EXTENSION] = replace(kit, desk=desk)
    return app.extensions[EXTENSION]


@pytest.fixture
def worker(sessions: sessionmaker[Session]) -> Iterator[None]:
    """Runs and settles whatever is queued, as the workers do."""
    yield from _attending(sessions, lambda job_id: run_and_settle(sessions, job_id))


def _attending(sessions: sessionmaker[Session], handle: Callable[[str], None]) -> Iterator[None]:
    over = threading.Event()

    def attend() -> None:
        while not over.wait(0.02):
            with sessions() as session:
                waiting = session.scalars(text("SELECT id FROM job WHERE status = 'queued'")).all()
            for job_id in waiting:
                handle(job_id)

    thread = threading.Thread(target=attend)
    thread.start()
    yield
    over.set()
    thread.join(10)


def asked(url: str, **fields: Any) -> dict[str, Any]:
    return {"image_url": url, "model": "builtin", **fields}


def test_a_pictures_address_gives_boxes_tokens_and_the_rest_of_the_balance(
    app: APIFlask, kit: Services, caller: Caller, photo: bytes, worker: None
) -> None:
    with serving(picture(photo)) as port:
        answer = caller.post(PATH, json=asked(f"http://127.0.0.1:{port}/cat.png", img_size=960))
    assert answer.status_code == 200, answer.text
    fits(app, answer)
    usage = answer.json["usage"]
    assert answer.json["predictions"] == []
    assert usage["tokens"] > 0
    assert usage["remaining_tokens"] == caller.get("/v1/balance").json["available"]
    job = caller.get(f"/v1/jobs/{answer.json['id']}").json
    assert (job["engine"], job["priority"], job["status"]) == ("detect", "interactive", "succeeded")


@pytest.mark.parametrize("form", ["data uri", "file part"])
def test_the_picture_may_come_along(
    kit: Services, caller: Caller, photo: bytes, worker: None, form: str
) -> None:
    if form == "data uri":
        uri = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
        answer = caller.post(PATH, json={"image": uri, "model": "builtin"})
    else:
        answer = caller.post(PATH, **multipart(photo, model="builtin", img_size="640", conf="0.3"))
    assert answer.status_code == 200, answer.text
    params = caller.get("/v1/jobs").json["data"][0]
    assert params["model"] == "builtin@1"


def multipart(photo: bytes | None, **fields: str) -> dict[str, Any]:
    parts = [
        f'--mark\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if photo is not None:
        head = b'--mark\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        parts.append(head + photo + b"\r\n")
    form = "multipart/form-data; boundary=mark"
    return {"data": b"".join(parts) + b"--mark--\r\n", "content_type": form}


def test_a_form_may_name_an_address_too(
    kit: Services, caller: Caller, photo: bytes, worker: None
) -> None:
    with serving(picture(photo)) as port:
        form = multipart(None, model="builtin", image_url=f"http://127.0.0.1:{port}/")
        assert caller.post(PATH, **form).status_code == 200
    both = multipart(photo, model="builtin", image_url="https://example.com/a.png")
    assert_problem(caller.post(PATH, **both), status=400, code="ambiguous_input")


def test_without_a_balance_it_is_402_and_nothing_is_kept(
    kit: Services, pauper: Caller, photo: bytes, traces: Traces
) -> None:
    before = traces.look()
    with serving(picture(photo)) as port:
        answer = pauper.post(PATH, json=asked(f"http://127.0.0.1:{port}/"))
    assert_problem(answer, status=402, code="insufficient_tokens")
    assert traces.look() == before


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, (422, "invalid_request")),
        ({"image_url": "https://a.example/", "image": "data:,"}, (422, "invalid_request")),
        ({"image_url": 7}, (422, "invalid_request")),
        ({"image_url": "https://a.example/a", "img_size": 641}, (422, "invalid_params")),
        ({"image_url": "https://a.example/a", "img_size": "640"}, (422, "invalid_request")),
        ({"image_url": "https://a.example/a", "model": "yolov9"}, (422, "unknown_model")),
        ({"image_url": "https://a.example/a", "iou": 2}, (422, "invalid_params")),
        ({"image_url": "https://a.example/a", "threshold": 0.5}, (400, "unknown_field")),
        ({"image": "data:image/png;base64,%%%"}, (422, "data_uri_malformed")),
        ({"image": "data:image/png;base64,AAAA"}, (422, "unsupported_media")),
    ],
)
def test_a_body_that_cannot_be_is_refused_before_anything_is_fetched(
    kit: Services, caller: Caller, traces: Traces, body: dict[str, Any], refusal: tuple[int, str]
) -> None:
    before, (status, code) = traces.look(), refusal
    assert_problem(caller.post(PATH, json=body), status=status, code=code)
    assert traces.look() == before


@pytest.mark.parametrize("fields", [{"img_size": "wide"}, {"conf": "NaN"}, {"classes": "1,2"}])
def test_numbers_of_a_form_are_json(
    kit: Services, caller: Caller, photo: bytes, fields: dict[str, str]
) -> None:
    answer = caller.post(PATH, **multipart(photo, **fields))
    assert answer.status_code == 400
    assert answer.json["code"].startswith("json_")


def test_a_video_is_refused(
    kit: Services, caller: Caller, traces: Traces, monkeypatch: pytest.MonkeyPatch, photo: bytes
) -> None:
    from engines.spec import MediaInfo, MediaKind

    video = MediaInfo(MediaKind.VIDEO, "video/mp4", 10, 64, 64, duration_s=1.0, frames=10, fps=10.0)
    desk = replace(kit.desk, probe=lambda _: video)
    caller.client.application.extensions[EXTENSION] = replace(kit, desk=desk)
    before = traces.look()
    with serving(picture(photo)) as port:
        answer = caller.post(PATH, json=asked(f"http://127.0.0.1:{port}/"))
    assert_problem(answer, status=422, code="unsupported_media")
    assert traces.look() == before


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "image_truncated", "detail": "Send it again.", "retryable": False}, 422),
        ({"code": "engine_fault", "detail": "Ours.", "retryable": True}, 500),
        ({"code": "resources_exhausted", "detail": "Later.", "retryable": True}, 503),
    ],
)
def test_a_job_that_fails_is_a_problem_with_its_code_and_costs_nothing(
    caller: Caller,
    photo: bytes,
    sessions: sessionmaker[Session],
    error: dict[str, Any],
    status: int,
) -> None:
    def fail(job_id: str) -> None:
        with sessions.begin() as session:
            run = claim(session, job_id=job_id, worker="w", lease_s=15)
            assert run is not None
            finish(session, job_id=job_id, attempt=1, outcome=JobStatus.FAILED, error=error)
        settle_only(sessions, job_id)

    attendant = _attending(sessions, fail)
    next(attendant)
    try:
        answer = caller.post(PATH, **multipart(photo, model="builtin"))
    finally:
        next(attendant, None)
    assert_problem(answer, status=status, code=error["code"])
    assert caller.get("/v1/balance").json["available"] == 1000


def settle_only(sessions: sessionmaker[Session], job_id: str) -> None:
    from app.jobs.lifecycle import mark_settled
    from billing.settlement import settle

    with sessions.begin() as session:
        settlement = settle(session, job=job_id)
        assert settlement is not None
        mark_settled(session, settlement=settlement)


def test_a_job_that_takes_too_long_is_answered_by_its_place(
    kit: Services, caller: Caller, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synchronous, "WAIT_S", 0.2)
    answer = caller.post(PATH, **multipart(photo, model="builtin"))
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"
    assert answer.json["status"] == "queued"


def test_the_same_key_and_body_are_one_job(
    kit: Services, caller: Caller, photo: bytes, worker: None, traces: Traces
) -> None:
    form = multipart(photo, model="builtin")
    first = caller.post(PATH, **form, headers={"Idempotency-Key": "one"})
    kept = traces.look()
    again = caller.post(PATH, **form, headers={"Idempotency-Key": "one"})
    assert first.json == again.json
    assert traces.look() == kept


def test_while_many_addresses_are_fetched_the_next_one_is_told_to_come_again(
    app: APIFlask, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.api import fetching

    monkeypatch.setattr(fetching, "GATE_WAIT_S", 0.05)
    kit: Services = app.extensions[EXTENSION]
    policy = OutboundPolicy(allow_hosts=frozenset({"127.0.0.1"}), tls=kit.outbound.tls)
    fetch = fetcher(policy, kit.storage.scratch, max_bytes=1000, limits=QUICK, at_once=1)
    app.extensions[EXTENSION] = replace(kit, desk=replace(kit.desk, fetch=fetch))
    arrived, over = threading.Event(), threading.Event()

    def hold(connection: Any) -> None:
        arrived.set()
        over.wait(5)

    with serving(hold) as port:
        first = threading.Thread(
            target=lambda: app.test_client().post(
                PATH,
                json=asked(f"http://127.0.0.1:{port}/"),
                headers={"Authorization": f"Bearer {caller.key}"},
            )
        )
        first.start()
        assert arrived.wait(5)
        answer = caller.post(PATH, json=asked(f"http://127.0.0.1:{port}/"))
        over.set()
        first.join(10)
    assert_problem(answer, status=503, code="overloaded")


def test_an_answer_that_is_no_picture_is_refused_by_its_content(
    kit: Services, caller: Caller, traces: Traces
) -> None:
    before = traces.look()
    page = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n<html>not a picture</html>"
    with serving(answering(page)) as port:
        answer = caller.post(PATH, json=asked(f"http://127.0.0.1:{port}/a.png"))
    assert_problem(answer, status=422, code="unsupported_media")
    assert traces.look() == before
