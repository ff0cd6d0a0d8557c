"""Batches over HTTP that were accepted: run, ended, canceled, tried again."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable

import pytest
from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import Services
from app.webhooks.service import claim_due
from app.webhooks.signing import sign
from tests.app.api.batch_calls import (
    HOOK,
    PATH,
    body,
    count,
    fail,
    jobs_of,
    linked,
    reconciled,
    settle_one,
)
from tests.app.api.callers import Caller, assert_problem, job_body, run_and_settle
from tests.app.api.test_openapi import fits


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
