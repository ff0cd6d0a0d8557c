"""What becomes a batch and what does not: as a whole, once, and never half."""

import base64
import io
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest
from apiflask import APIFlask
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import EXTENSION, Services
from app.batches import opening, queries
from app.outbound import OutboundReason, OutboundRefusedError
from tests.app.api.batch_calls import (
    HOOK,
    PATH,
    body,
    count,
    crash,
    jobs_of,
    reconciled,
)
from tests.app.api.callers import Caller, Traces, assert_problem, job_body, run_and_settle
from tests.app.api.conftest import add_tenant


def test_one_wrong_item_refuses_the_whole_by_its_index_and_leaves_nothing(
    caller: Caller, stranger: Caller, photo: bytes, file_id: str, traces: Traces
) -> None:
    foreign = stranger.upload(photo).json["id"]
    before = traces.look()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.png", photo)
    inline = "data:application/zip;base64," + base64.b64encode(zipped.getvalue()).decode()
    for item, code, pointer in (
        ({"engine": "none"}, "unknown_engine", "/items/7/engine"),
        ({"model": "none"}, "unknown_model", "/items/7/model"),
        ({"params": {"conf": 7}}, "invalid_params", "/items/7/params/conf"),
        ({"input": {"target": {"file": foreign}}}, "file_not_found", "/items/7"),
        ({"input": {"target": {"data": inline}}}, "unsupported_media", "/items/7"),
        ({"input": {"target": {"url": "https://10.0.0.1/a.png"}}}, "url_not_allowed", "/items/7"),
        ({"priority": "soon"}, "invalid_request", "/items/7/priority"),
        ({"token_quota": 0}, "token_quota_exceeded", "/items/7/token_quota"),
        ({"surprise": 1}, "unknown_field", "/items/7/surprise"),
    ):
        wanted = {"defaults": job_body(file_id), "items": [{}] * 7 + [item] + [{}]}
        problem = assert_problem(caller.post(PATH, json=wanted), status=422, code=code)
        assert problem["errors"][0]["pointer"] == pointer
    assert traces.look() == before


def test_what_is_no_batch_is_refused(caller: Caller, file_id: str, traces: Traces) -> None:
    before = traces.look()
    for wanted, status, code in (
        (body(file_id, items=0), 422, "invalid_request"),
        (body(file_id, items=10_001), 422, "invalid_request"),
        (body(file_id, max_tokens=0.001), 402, "token_quota_exceeded"),
        (body(file_id, webhook={"url": "https://127.0.0.1/hook"}), 422, "url_not_allowed"),
        (body(file_id, webhook={"url": "http://example.com/hook"}), 422, "url_not_allowed"),
        (body(file_id, webhook={**HOOK, "events": ["job.failed"]}), 422, "invalid_request"),
        (body(file_id, on_invalid="ignore"), 422, "invalid_request"),
        ({"items": [{"engine": "none"}], "on_invalid": "skip"}, 422, "invalid_request"),
        (
            {**body(file_id), "items": [{"engine": "none"}], "on_invalid": "skip"},
            422,
            "unknown_engine",
        ),
    ):
        assert_problem(caller.post(PATH, json=wanted), status=status, code=code)
    twice = b'{"items": [{"engine": "detect", "engine": "colorize"}]}'
    answer = caller.post(PATH, data=twice, content_type="application/json")
    assert_problem(answer, status=400, code="json_duplicate_key")
    urls = [{"input": {"target": {"url": f"https://example.com/{n}.png"}}} for n in range(51)]
    answer = caller.post(PATH, json={"defaults": job_body(file_id), "items": urls})
    problem = assert_problem(answer, status=422, code="too_many_addresses")
    assert problem["errors"][0]["pointer"] == "/items/50/input"
    assert traces.look() == before


def test_an_address_is_fetched_once_before_anything_is_held(
    app: APIFlask, caller: Caller, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit: Services = app.extensions[EXTENSION]
    fetched: list[str] = []

    def fetch(url: str) -> io.BytesIO:
        fetched.append(url)
        if url.endswith("gone.png"):
            raise OutboundRefusedError(OutboundReason.BAD_ANSWER, "It answered 404.")
        return io.BytesIO(photo)

    app.extensions[EXTENSION] = replace(kit, desk=replace(kit.desk, fetch=fetch))
    names = ["a.png", "a.png", "gone.png", "a.png"]
    items = [{"input": {"target": {"url": f"https://example.com/{name}"}}} for name in names]
    wanted = {"defaults": {"engine": "detect", "model": "builtin"}, "items": items}
    problem = assert_problem(caller.post(PATH, json=wanted), status=422, code="url_bad_answer")
    assert problem["errors"][0]["pointer"] == "/items/2"
    fetched.clear()
    made = caller.post(PATH, json={**wanted, "on_invalid": "skip"}).json
    assert (made["counts"]["queued"], made["counts"]["invalid"]) == (3, 1)
    assert fetched == ["https://example.com/a.png", "https://example.com/gone.png"]
    monkeypatch.setattr("app.files.intake.FETCHING_S_MAX", -1.0)
    assert_problem(caller.post(PATH, json=wanted), status=422, code="url_timeout")


def test_a_balance_that_is_short_refuses_the_whole_with_the_figures(
    pauper: Caller, photo: bytes, traces: Traces
) -> None:
    wanted = body(pauper.upload(photo).json["id"], items=2)
    single = pauper.post("/v1/quotes", json=wanted["defaults"]).json["tokens"]
    before = traces.look()
    problem = assert_problem(pauper.post(PATH, json=wanted), status=402, code="insufficient_tokens")
    assert f"{2 * single:g} tokens together" in problem["detail"]
    assert traces.look() == before


def test_the_same_key_makes_one_batch(
    caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    headers = {"Idempotency-Key": "night"}
    first, second = (caller.post(PATH, json=body(file_id), headers=headers) for _ in range(2))
    assert first.json["id"] == second.json["id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(jobs_of(caller, first.json["id"])) == 3
    assert count(sessions, "billing.hold") == 3
    answer = caller.post(PATH, json=body(file_id, items=4), headers=headers)
    assert_problem(answer, status=409, code="idempotency_mismatch")


def test_one_key_sent_at_once_by_many_holds_once(
    app: APIFlask, caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    answers: list[tuple[int, str]] = []

    def send() -> None:
        own = Caller(app.test_client(), caller.key, caller.tenant_id)
        answer = own.post(PATH, json=body(file_id), headers={"Idempotency-Key": "same"})
        answers.append((answer.status_code, answer.json.get("id") or answer.json["code"]))

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = {told for status, told in answers if status == 202}
    assert len(made) == 1
    assert {told for status, told in answers if status != 202} <= {"idempotency_in_progress"}
    assert count(sessions, "batch") == 1
    assert count(sessions, "billing.hold") == 3


def test_a_crash_between_chunks_loses_nothing_and_holds_nothing_twice(
    caller: Caller,
    file_id: str,
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "CHUNK", 2)
    monkeypatch.setattr("app.api.batches._make_all", crash)
    answer = caller.post(PATH, json=body(file_id, items=9), headers={"Idempotency-Key": "k"})
    assert answer.status_code == 500
    with sessions() as session:
        (batch_id,) = queries.interrupted(session)
    made = caller.get(f"{PATH}/{batch_id}").json
    assert (made["status"], made["counts"]["waiting"], made["counts"]["queued"]) == (
        "accepting",
        7,
        2,
    )

    def go_on() -> None:
        while True:
            with sessions.begin() as session:
                if not opening.make_jobs(session, batch_id=batch_id):
                    return

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    again = caller.post(PATH, json=body(file_id, items=9), headers={"Idempotency-Key": "k"}).json
    assert (again["id"], again["counts"]["queued"]) == (batch_id, 9)
    assert caller.get("/v1/balance").json["held"] == again["tokens_quoted"]
    assert count(sessions, "billing.hold") == 9
    reconciled(sessions)


def test_items_that_find_the_wallet_empty_are_refused_and_the_others_run(
    caller: Caller,
    photo: bytes,
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[], int],
) -> None:
    with sessions.begin() as session:
        tenant_id, key = add_tenant(session, "small", tokens=5)
    small = Caller(caller.client, key, tenant_id)
    wanted = job_body(small.upload(photo).json["id"])
    monkeypatch.setattr(opening, "CHUNK", 2)
    with monkeypatch.context() as patched:
        patched.setattr("app.api.batches._make_all", crash)
        small.post(PATH, json={"defaults": wanted, "items": [{}] * 4})
    while small.post("/v1/jobs", json=wanted).status_code == 202:
        pass
    with sessions() as session:
        (batch_id,) = queries.interrupted(session)
    with sessions.begin() as session:
        assert opening.make_jobs(session, batch_id=batch_id) == 2
    refused = small.get(f"{PATH}/{batch_id}/items?status=refused").json["data"]
    assert [item["index"] for item in refused] == [2, 3]
    assert {item["error"]["code"] for item in refused} == {"insufficient_tokens"}
    for job in jobs_of(small, batch_id)[:2]:
        run_and_settle(sessions, job)
    assert end() == 1
    reconciled(sessions)
