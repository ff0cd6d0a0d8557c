"""Batch estimate -> approval -> recharge -> the jobs start, over HTTP and the background step."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import Services
from app.estimates.start import submit_started
from app.tenants.service import create_key, revoke_key
from billing.reconcile import check
from tests.app.api.callers import Caller, assert_problem, job_body, run_and_settle
from tests.app.api.test_openapi import fits

PATH = "/v1/estimates"


class Background:
    """The background step, as often as a test wants it."""

    def __init__(self, kit: Services, sessions: sessionmaker[Session]) -> None:
        self.kit, self.sessions = kit, sessions

    def run(self, *, limit: int = 1000, days: float = 0) -> int:
        return submit_started(
            self.sessions,
            catalog=self.kit.catalog,
            box=self.kit.box,
            desk=self.kit.desk,
            limit=limit,
            now=datetime.now(UTC) + timedelta(days=days),
        )

    def count(self, table: str) -> int:
        with self.sessions() as session:
            return session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


@pytest.fixture
def background(kit: Services, sessions: sessionmaker[Session]) -> Background:
    return Background(kit, sessions)


@pytest.fixture
def bob(client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    with sessions.begin() as session:
        return Caller(client, create_key(session, tenant_id=None, name="bob").minted.key, "")


@pytest.fixture
def poor_file(pauper: Caller, photo: bytes) -> str:
    return pauper.upload(photo).json["id"]


def body(file_id: str, *, items: int = 3, **fields: Any) -> dict[str, Any]:
    defaults = job_body(file_id)
    return {"defaults": defaults, "items": [{} for _ in range(items)], **fields}


def test_a_covered_estimate_starts_at_once(
    app: APIFlask,
    caller: Caller,
    file_id: str,
    background: Background,
    sessions: sessionmaker[Session],
) -> None:
    made = caller.post(PATH, json=body(file_id, items=2))
    assert made.status_code == 201, made.text
    fits(app, made)
    single = caller.post("/v1/quotes", json=job_body(file_id)).json["tokens"]
    assert made.json["tokens"] == pytest.approx(2 * single)
    assert (made.json["status"], made.json["sufficient"]) == ("quoted", True)
    assert background.count("job") == 0
    path = f"{PATH}/{made.json['id']}"
    started = caller.post(f"{path}/start")
    fits(app, started)
    assert started.json["status"] == "starting"
    assert background.run() == 2
    done = caller.get(path)
    fits(app, done)
    assert done.json["status"] == "started"
    jobs = [item["job"] for item in done.json["items"]]
    assert background.run() == 0
    assert background.count("job") == 2
    for job in jobs:
        run_and_settle(sessions, job)
        assert caller.get(f"/v1/jobs/{job}").json["usage"]["tokens"] == single
    assert_problem(caller.post(f"{path}/start"), status=409, code="estimate_started")


def test_a_short_estimate_is_recharged_by_an_operator_and_starts(
    app: APIFlask,
    pauper: Caller,
    poor_file: str,
    bob: Caller,
    background: Background,
) -> None:
    made = pauper.post(PATH, json=body(poor_file)).json
    path = f"{PATH}/{made['id']}"
    assert made["shortfall"] == made["tokens"] > 0
    assert_problem(pauper.post(f"{path}/start"), status=402, code="insufficient_tokens")
    asked = pauper.post(f"{path}/request-recharge")
    fits(app, asked)
    assert asked.json["status"] == "awaiting_approval"
    for act in ("request-recharge", "start"):
        answer = pauper.post(f"{path}/{act}")
        assert_problem(answer, status=409, code="recharge_requested")
    assert background.run() == 0
    recharge = asked.json["recharge"]
    logged = bob.get(f"/v1/admin/recharges/{recharge}").json
    assert (logged["source"], logged["tokens"]) == ("estimate", made["shortfall"])
    approved = bob.post(f"/v1/admin/approvals/{asked.json['approval']}/approve")
    assert approved.status_code == 200, approved.text
    assert pauper.get(path).json["status"] == "starting"
    assert background.run() == 3
    done = pauper.get(path).json
    assert done["status"] == "started"
    assert all(item["job"] and not item["error"] for item in done["items"])
    balance = pauper.get("/v1/balance").json
    assert (balance["available"], balance["held"]) == (0, made["tokens"])
    for item in done["items"]:
        run_and_settle(background.sessions, item["job"])
    assert bob.get(f"/v1/admin/recharges/{recharge}").json["status"] == "completed"
    with background.sessions() as session:
        assert check(session) == []


def test_what_is_rejected_does_not_start_and_may_be_asked_again(
    pauper: Caller, poor_file: str, bob: Caller, background: Background
) -> None:
    made = pauper.post(PATH, json=body(poor_file)).json
    path = f"{PATH}/{made['id']}"
    first = pauper.post(f"{path}/request-recharge").json["recharge"]
    bob.post(f"/v1/admin/recharges/{first}/reject", json={"reason": "no"})
    assert pauper.get(path).json["status"] == "quoted"
    assert background.run() == 0
    second = pauper.post(f"{path}/request-recharge").json
    assert second["recharge"] != first
    bob.post(f"/v1/admin/recharges/{second['recharge']}/approve")
    assert background.run() == 3


def test_two_background_steps_at_once_submit_each_item_once(
    caller: Caller, file_id: str, background: Background
) -> None:
    made = caller.post(PATH, json=body(file_id, items=12)).json
    caller.post(f"{PATH}/{made['id']}/start")
    threads = [threading.Thread(target=background.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    background.run()
    jobs = [item["job"] for item in caller.get(f"{PATH}/{made['id']}").json["items"]]
    assert len(set(jobs)) == 12
    assert background.count("job") == 12


def test_a_step_that_is_cut_off_is_gone_on_with(
    caller: Caller, file_id: str, background: Background
) -> None:
    made = caller.post(PATH, json=body(file_id, items=5)).json
    caller.post(f"{PATH}/{made['id']}/start")
    assert background.run(limit=2) == 2
    assert caller.get(f"{PATH}/{made['id']}").json["status"] == "starting"
    assert background.run() == 3
    assert caller.get(f"{PATH}/{made['id']}").json["status"] == "started"


def test_many_items_are_cheaper_by_the_cards_discount(caller: Caller, file_id: str) -> None:
    single = caller.post("/v1/quotes", json=job_body(file_id)).json["tokens"]
    nine = caller.post(PATH, json=body(file_id, items=9)).json["tokens"]
    ten = caller.post(PATH, json=body(file_id, items=10)).json["tokens"]
    assert nine == pytest.approx(9 * single)
    assert ten == pytest.approx(10 * round(single * 0.95, 3))


def test_items_that_are_wrong_earn_no_discount(caller: Caller, file_id: str) -> None:
    wanted = body(file_id, items=9, on_invalid="skip")
    wanted["items"] += [{"engine": "none"}, {"model": "nothing"}, {"params": {"conf": 7}}, {"x": 1}]
    made = caller.post(PATH, json=wanted).json
    assert made["total"] == 9
    assert [(each["index"], each["code"]) for each in made["skipped"]] == [
        (9, "unknown_engine"),
        (10, "unknown_model"),
        (11, "invalid_params"),
        (12, "unknown_field"),
    ]
    single = caller.post("/v1/quotes", json=job_body(file_id)).json["tokens"]
    assert made["tokens"] == pytest.approx(9 * single)


def test_one_wrong_item_refuses_the_batch_by_its_index(
    caller: Caller, file_id: str, background: Background
) -> None:
    for item, code, pointer in (
        ({"params": {"conf": 7}}, "invalid_params", "/items/1/params/conf"),
        ({"input": {"target": {"file": "file_none"}}}, "file_not_found", "/items/1"),
        ({"priority": "soon"}, "invalid_request", "/items/1/priority"),
        ({"token_quota": 0}, "token_quota_exceeded", "/items/1/token_quota"),
    ):
        wanted = {"defaults": job_body(file_id), "items": [{}, item]}
        problem = assert_problem(caller.post(PATH, json=wanted), status=422, code=code)
        assert problem["errors"][0]["pointer"] == pointer
    answer = caller.post(PATH, json=body(file_id, max_tokens=0.001))
    assert_problem(answer, status=402, code="token_quota_exceeded")
    assert_problem(
        caller.post(PATH, json=body(file_id, items=0)), status=422, code="invalid_request"
    )
    assert background.count("estimate") == 0


def test_the_same_key_makes_one_estimate(
    caller: Caller, file_id: str, background: Background
) -> None:
    headers = {"Idempotency-Key": "batch"}
    answers = [caller.post(PATH, json=body(file_id), headers=headers) for _ in range(2)]
    assert answers[0].json == answers[1].json
    assert background.count("estimate") == 1


def test_estimates_are_the_tenants_own(caller: Caller, stranger: Caller, file_id: str) -> None:
    made = caller.post(PATH, json=body(file_id)).json["id"]
    for answer in (stranger.get(f"{PATH}/{made}"), stranger.post(f"{PATH}/{made}/start")):
        assert_problem(answer, status=404, code="estimate_not_found")
    assert_problem(
        caller.post(f"{PATH}/{made}/request-recharge"), status=409, code="balance_sufficient"
    )


def test_inputs_live_until_the_estimate_is_over(
    caller: Caller, file_id: str, sessions: sessionmaker[Session], background: Background
) -> None:
    made = caller.post(PATH, json=body(file_id)).json
    with sessions() as session:
        until = session.scalar(text("SELECT max(expires_at) FROM file"))
    assert until == datetime.fromisoformat(made["expires_at"])
    with sessions.begin() as session:
        session.execute(text("UPDATE estimate SET expires_at = now() - interval '1 second'"))
    assert_problem(caller.post(f"{PATH}/{made['id']}/start"), status=409, code="estimate_expired")


def test_a_price_that_rose_refuses_the_job_and_says_so(
    caller: Caller, file_id: str, background: Background, sessions: sessionmaker[Session]
) -> None:
    made = caller.post(PATH, json=body(file_id, items=2)).json
    with sessions.begin() as session:
        session.execute(text("UPDATE estimate_item SET tokens = tokens - 1 WHERE position = 1"))
    caller.post(f"{PATH}/{made['id']}/start")
    background.run()
    first, second = caller.get(f"{PATH}/{made['id']}").json["items"]
    assert first["job"] is not None
    assert (second["job"], second["error"]["code"]) == (None, "token_quota_exceeded")


def test_nothing_starts_in_the_name_of_a_revoked_key(
    caller: Caller, file_id: str, background: Background, sessions: sessionmaker[Session]
) -> None:
    made = caller.post(PATH, json=body(file_id, items=1)).json
    caller.post(f"{PATH}/{made['id']}/start")
    with sessions.begin() as session:
        key_id = session.scalar(text("SELECT api_key_id FROM estimate"))
        revoke_key(session, key_id=key_id)
    background.run(days=0.001)
    with sessions() as session:
        code = session.scalar(text("SELECT error_code FROM estimate_item"))
    assert code == "key_revoked"
    assert background.count("job") == 0
