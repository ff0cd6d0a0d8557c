import json

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.app.api.callers import Caller, assert_problem

HOOK = {"url": "https://example.com/hook"}


def test_an_endpoint_shows_its_secret_once(caller: Caller) -> None:
    made = caller.post("/v1/webhook-endpoints", json=HOOK | {"events": ["job.succeeded"]})
    assert made.status_code == 201
    assert made.json["secret"].startswith("whsec_")
    shown = caller.get(f"/v1/webhook-endpoints/{made.json['id']}")
    assert shown.json["events"] == ["job.succeeded"]
    assert "secret" not in shown.json
    listed = caller.get("/v1/webhook-endpoints").json
    assert [each["id"] for each in listed["data"]] == [made.json["id"]]
    assert "whsec_" not in json.dumps(listed)


def test_the_secret_is_not_stored_in_the_clear(
    caller: Caller, sessions: sessionmaker[Session]
) -> None:
    secret = caller.post("/v1/webhook-endpoints", json=HOOK).json["secret"]
    with sessions() as session:
        stored = session.execute(text("SELECT secret FROM webhook_endpoint")).scalar_one()
    assert secret.encode() not in bytes(stored)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"url": "ftp://example.com"}, 422, "invalid_request"),
        ({"url": "https://127.0.0.1:9/"}, 422, "url_not_allowed"),
        ({"url": "http://example.com/"}, 422, "url_not_allowed"),
        (HOOK | {"events": ["job.exploded"]}, 422, "invalid_request"),
        (HOOK | {"secret": "whsec_x"}, 400, "unknown_field"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(
    caller: Caller, body: dict, status: int, code: str
) -> None:
    answer = caller.post("/v1/webhook-endpoints", json=body)
    if code == "url_not_allowed" and answer.status_code == 201:
        pytest.fail("a private address was taken")
    assert_problem(answer, status=status, code=code)


def test_the_same_key_makes_one_endpoint_and_the_same_answer(caller: Caller) -> None:
    headers = {"Idempotency-Key": "hook"}
    first = caller.post("/v1/webhook-endpoints", json=HOOK, headers=headers)
    second = caller.post("/v1/webhook-endpoints", json=HOOK, headers=headers)
    assert first.json == second.json
    assert len(caller.get("/v1/webhook-endpoints").json["data"]) == 1


def test_a_rotated_secret_replaces_the_old_one(caller: Caller) -> None:
    made = caller.post("/v1/webhook-endpoints", json=HOOK).json
    rotated = caller.post(f"/v1/webhook-endpoints/{made['id']}/rotate-secret").json
    assert rotated["id"] == made["id"]
    assert rotated["secret"] != made["secret"]


def test_a_test_event_is_booked_for_this_endpoint_alone(caller: Caller) -> None:
    made = [
        caller.post("/v1/webhook-endpoints", json={"url": f"https://example.com/{n}"}).json
        for n in range(2)
    ]
    answer = caller.post(f"/v1/webhook-endpoints/{made[0]['id']}/test")
    assert (answer.status_code, answer.json["type"]) == (202, "test")
    (delivery,) = caller.get("/v1/webhook-deliveries").json["data"]
    assert delivery["endpoint"] == made[0]["id"]
    assert (delivery["type"], delivery["status"], delivery["attempts"]) == ("test", "pending", [])


def test_a_delivery_is_sent_again_under_the_same_id(
    caller: Caller, sessions: sessionmaker[Session]
) -> None:
    made = caller.post("/v1/webhook-endpoints", json=HOOK).json
    caller.post(f"/v1/webhook-endpoints/{made['id']}/test")
    with sessions.begin() as session:
        session.execute(text("UPDATE webhook_delivery SET status = 'exhausted'"))
    (before,) = caller.get("/v1/webhook-deliveries").json["data"]
    again = caller.post(f"/v1/webhook-deliveries/{before['id']}/replay")
    assert again.status_code == 202
    assert (again.json["id"], again.json["status"]) == (before["id"], "pending")


def test_a_removed_endpoint_is_gone(caller: Caller) -> None:
    path = f"/v1/webhook-endpoints/{caller.post('/v1/webhook-endpoints', json=HOOK).json['id']}"
    assert caller.send("DELETE", path).status_code == 204
    assert_problem(caller.get(path), status=404, code="endpoint_not_found")
    assert_problem(caller.send("DELETE", path), status=404, code="endpoint_not_found")


def test_strangers_reach_no_endpoint_and_no_delivery(caller: Caller, stranger: Caller) -> None:
    path = f"/v1/webhook-endpoints/{caller.post('/v1/webhook-endpoints', json=HOOK).json['id']}"
    caller.post(f"{path}/test")
    (delivery,) = caller.get("/v1/webhook-deliveries").json["data"]
    for answer in (
        stranger.get(path),
        stranger.send("DELETE", path),
        stranger.post(f"{path}/rotate-secret"),
        stranger.post(f"{path}/test"),
    ):
        assert_problem(answer, status=404, code="endpoint_not_found")
    replay = stranger.post(f"/v1/webhook-deliveries/{delivery['id']}/replay")
    assert_problem(replay, status=404, code="delivery_not_found")
    assert stranger.get("/v1/webhook-deliveries").json["data"] == []
