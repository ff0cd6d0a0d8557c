"""Batches over HTTP: validated, priced and held as a whole; read, canceled, tried again."""

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import EXTENSION, Services
from app.batches import completion, opening, queries
from app.jobs.lifecycle import claim, finish, mark_settled
from app.jobs.states import JobStatus
from app.outbound import OutboundReason, OutboundRefusedError
from app.webhooks.service import claim_due
from app.webhooks.signing import sign
from billing.reconcile import check
from billing.settlement import settle
from tests.app.api.callers import Caller, Traces, assert_problem, job_body, run_and_settle
from tests.app.api.conftest import add_tenant
from tests.app.api.test_openapi import fits

PATH = "/v1/batches"
HOOK = {"url": "https://hooks.example.com/batch"}


def body(file_id: str, *, items: int = 3, **fields: Any) -> dict[str, Any]:
    return {"defaults": job_body(file_id), "items": [{} for _ in range(items)], **fields}


@pytest.fixture
def end(kit: Services, sessions: sessionmaker[Session]) -> Callable[[], int]:
    """End what is over, as the billing worker does."""
    desk = completion.Desk(kit.storage, kit.links, kit.box)

    def run() -> int:
        with sessions() as session:
            over = completion.over(session)
        ended = 0
        for batch_id in over:
            with sessions.begin() as session:
                ended += completion.finish(session, desk, batch_id=batch_id)
        return ended

    return run


def linked(caller: Caller, url: str) -> bytes:
    """What a signed link opens, without a key."""
    with caller.client.get(url.removeprefix("http://pixelmeter.test")) as answer:
        assert answer.status_code == 200, answer.text
        return answer.data


def jobs_of(caller: Caller, batch_id: str) -> list[str]:
    return [item["job"] for item in caller.get(f"{PATH}/{batch_id}/items").json["data"]]


def test_a_batch_runs_and_ends_with_one_bill(
    app: APIFlask,
    caller: Caller,
    file_id: str,
    sessions: sessionmaker[Session],
    end: Callable[[], int],
) -> None:
    answer = caller.post(PATH, json=body(file_id, webhook=HOOK))
    assert answer.status_code == 202, answer.text
    fits(app, answer)
    made = answer.json
    single = caller.post("/v1/quotes", json=job_body(file_id)).json["tokens"]
    assert (made["status"], made["total"]) == ("running", 3)
    assert made["tokens_quoted"] == pytest.approx(3 * single)
    assert made["counts"]["queued"] == 3
    assert answer.headers["Location"] == f"{PATH}/{made['id']}"
    assert caller.get("/v1/balance").json["held"] == made["tokens_quoted"]
    listed = caller.get(f"/v1/jobs?batch={made['id']}").json["data"]
    assert {job["batch"] for job in listed} == {made["id"]}
    assert len(listed) == 3
    for job in jobs_of(caller, made["id"]):
        assert end() == 0
        run_and_settle(sessions, job)
    assert end() == 1
    assert end() == 0
    answer = caller.post(f"{PATH}/{made['id']}/cancel")
    assert_problem(answer, status=409, code="batch_finished")
    done = caller.get(f"{PATH}/{made['id']}")
    fits(app, done)
    assert done.json["status"] == "completed"
    assert done.json["counts"]["succeeded"] == 3
    assert done.json["tokens"] == pytest.approx(3 * single)
    page = caller.get(f"{PATH}/{made['id']}/items?limit=2")
    fits(app, page)
    assert page.json["has_more"]
    rest = caller.get(f"{PATH}/{made['id']}/items?after={page.json['next_cursor']}").json["data"]
    assert [item["index"] for item in page.json["data"] + rest] == [0, 1, 2]
    index = caller.get(PATH)
    fits(app, index)
    assert [each["id"] for each in index.json["data"]] == [made["id"]]
    reconciled(sessions)


def test_the_manifest_is_signed_and_says_what_each_item_came_to(
    caller: Caller,
    file_id: str,
    kit: Services,
    sessions: sessionmaker[Session],
    end: Callable[[], int],
) -> None:
    wanted = body(file_id, items=2, on_invalid="skip", webhook=HOOK)
    wanted["items"] += [{"engine": "none"}]
    made = caller.post(PATH, json=wanted).json
    for job in jobs_of(caller, made["id"])[:2]:
        run_and_settle(sessions, job)
    assert end() == 1
    done = caller.get(f"{PATH}/{made['id']}").json
    content = linked(caller, done["manifest"]["json"]["url"])
    assert hashlib.sha256(content).hexdigest() == done["manifest"]["json"]["sha256"]
    manifest = json.loads(content)
    assert manifest["total"] == 3
    assert manifest["tokens"] == done["tokens"]
    assert [item["status"] for item in manifest["items"]] == ["succeeded", "succeeded", "invalid"]
    assert manifest["items"][2]["error"]["code"] == "unknown_engine"
    assert sum(item["tokens"] for item in manifest["items"][:2]) == pytest.approx(done["tokens"])
    lines = linked(caller, done["manifest"]["csv"]["url"]).decode().splitlines()
    assert lines[0].startswith("index,status,engine")
    assert len(lines) == 4
    with sessions.begin() as session:
        (due,) = claim_due(session, limit=10, claim_s=1)
    told = json.loads(due.body)
    assert (told["type"], told["data"]["id"]) == ("batch.completed", made["id"])
    assert told["data"]["counts"]["invalid"] == 1
    (problem,) = told["data"]["problems"]
    assert (problem["index"], problem["code"]) == (2, "unknown_engine")
    assert told["data"]["manifest"]["json"]["sha256"] == done["manifest"]["json"]["sha256"]
    signed_at, told_of = done["manifest"]["signed_at"], done["manifest"]["csv"]
    secret = kit.box.decrypt(due.secret)
    assert told_of["signature"] == sign(secret, made["id"], signed_at, told_of["sha256"])


def test_many_items_are_cheaper_and_each_quote_shows_the_discount(
    caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    single = caller.post("/v1/quotes", json=job_body(file_id)).json["tokens"]
    ten = caller.post(PATH, json=body(file_id, items=10)).json
    assert ten["tokens_quoted"] == pytest.approx(10 * round(single * 0.95, 3))
    first = jobs_of(caller, ten["id"])[0]
    (discount,) = caller.get(f"/v1/jobs/{first}").json["quote"]["multipliers"]
    assert (discount["name"], discount["factor"]) == ("batch", 0.95)
    run_and_settle(sessions, first)
    usage = caller.get(f"/v1/jobs/{first}").json["usage"]
    assert usage["tokens"] == pytest.approx(round(single * 0.95, 3))
    assert [line["name"] for line in usage["breakdown"]].count("batch") == 1


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


def count(sessions: sessionmaker[Session], table: str) -> int:
    with sessions() as session:
        return session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


def reconciled(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        assert check(session) == []


def crash(*_: object) -> None:
    raise ZeroDivisionError


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


def test_a_canceled_batch_frees_its_holds_and_tells_once(
    caller: Caller,
    file_id: str,
    kit: Services,
    sessions: sessionmaker[Session],
    end: Callable[[], int],
) -> None:
    made = caller.post(PATH, json=body(file_id, items=4, webhook=HOOK)).json
    first, *others = jobs_of(caller, made["id"])
    run_and_settle(sessions, first)
    answer = caller.post(f"{PATH}/{made['id']}/cancel")
    assert (answer.status_code, answer.json["status"]) == (202, "canceling")
    assert caller.post(f"{PATH}/{made['id']}/cancel").status_code == 202
    for job in others:
        settle_one(sessions, job)
    assert end() == 1
    done = caller.get(f"{PATH}/{made['id']}").json
    assert done["status"] == "canceled"
    assert (done["counts"]["succeeded"], done["counts"]["canceled"]) == (1, 3)
    assert caller.get("/v1/balance").json["held"] == 0
    assert caller.post(f"{PATH}/{made['id']}/cancel").json["status"] == "canceled"
    assert count(sessions, "webhook_event") == 1
    reconciled(sessions)


def test_failed_items_are_tried_again_as_another_batch(
    app: APIFlask,
    caller: Caller,
    file_id: str,
    sessions: sessionmaker[Session],
    end: Callable[[], int],
) -> None:
    wanted = body(file_id, items=10, webhook=HOOK)
    wanted["items"][4] = {"metadata": {"name": "four"}, "params": {"conf": 0.5}}
    made = caller.post(PATH, json=wanted).json
    path = f"{PATH}/{made['id']}"
    assert_problem(caller.post(f"{path}/retry"), status=409, code="batch_not_finished")
    for index, job in enumerate(jobs_of(caller, made["id"])):
        fail(sessions, job) if index == 4 else run_and_settle(sessions, job)
    assert end() == 1
    done = caller.get(path).json
    assert (done["counts"]["failed"], done["counts"]["succeeded"]) == (1, 9)
    answer = caller.post(f"{path}/retry", headers={"Idempotency-Key": "again"})
    fits(app, answer)
    again = answer.json
    assert (again["retry_of"], again["total"]) == (made["id"], 1)
    assert again["tokens_quoted"] == pytest.approx(made["tokens_quoted"] / 10)
    (item,) = caller.get(f"{PATH}/{again['id']}/items").json["data"]
    assert (item["index"], item["metadata"]) == (4, {"name": "four"})
    same = caller.post(f"{path}/retry", headers={"Idempotency-Key": "again"})
    assert same.json["id"] == again["id"]
    assert_problem(caller.post(f"{path}/retry"), status=409, code="batch_retried")
    run_and_settle(sessions, item["job"])
    assert end() == 1
    answer = caller.post(f"{PATH}/{again['id']}/retry")
    assert_problem(answer, status=409, code="nothing_to_retry")
    assert caller.get(path).json == done | {"links": caller.get(path).json["links"]} | {
        "manifest": caller.get(path).json["manifest"]
    }


def test_outputs_come_as_one_archive(
    caller: Caller, stranger: Caller, file_id: str, photo: bytes, sessions: sessionmaker[Session]
) -> None:
    made = caller.post(PATH, json=body(file_id, items=3)).json
    for job in jobs_of(caller, made["id"])[::2]:
        output = {"files": [{"id": caller.upload(photo, "out.png").json["id"]}], "data": {}}
        with sessions.begin() as session:
            session.execute(
                text("UPDATE job SET output = CAST(:output AS jsonb) WHERE id = :job"),
                {"output": json.dumps(output), "job": job},
            )
    content = linked(caller, made["links"]["outputs"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["00000-out.png", "00002-out.png"]
        assert archive.read("00000-out.png") == photo
    with caller.get(f"{PATH}/{made['id']}/outputs.zip") as answer:
        assert answer.data == content
    spoiled = made["links"]["outputs"].replace("sig=", "sig=x")
    answer = caller.client.get(spoiled.removeprefix("http://pixelmeter.test"))
    assert_problem(answer, status=403, code="link_invalid")
    for path in ("", "/items", "/outputs.zip"):
        answer = stranger.get(f"{PATH}/{made['id']}{path}")
        assert_problem(answer, status=404, code="batch_not_found")
    for act in ("cancel", "retry"):
        answer = stranger.post(f"{PATH}/{made['id']}/{act}")
        assert_problem(answer, status=404, code="batch_not_found")


def test_parallel_ends_make_one_callback(
    caller: Caller,
    file_id: str,
    kit: Services,
    sessions: sessionmaker[Session],
    end: Callable[[], int],
) -> None:
    for _ in range(5):
        made = caller.post(PATH, json=body(file_id, items=4, webhook=HOOK)).json
        ended: list[int] = []

        def settle_and_end(job: str, ended: list[int] = ended) -> None:
            settle_one(sessions, job)
            ended.append(end())

        jobs = jobs_of(caller, made["id"])
        for job in jobs:
            fail(sessions, job, settled=False)
        threads = [threading.Thread(target=settle_and_end, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(ended) == 1
    assert count(sessions, "webhook_event") == 5


def fail(sessions: sessionmaker[Session], job_id: str, *, settled: bool = True) -> None:
    """What a GPU worker does with a job whose input it cannot read."""
    error = {"code": "video_damaged", "detail": "Frame 7 cannot be decoded.", "retryable": False}
    with sessions.begin() as session:
        run = claim(session, job_id=job_id, worker="worker-1", lease_s=15)
        assert run is not None
        finish(session, job_id=job_id, attempt=run.attempt, outcome=JobStatus.FAILED, error=error)
    if settled:
        settle_one(sessions, job_id)


def settle_one(sessions: sessionmaker[Session], job_id: str) -> None:
    with sessions.begin() as session:
        settlement = settle(session, job=job_id)
        assert settlement is not None
        mark_settled(session, settlement=settlement)
