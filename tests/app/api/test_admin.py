import pytest
from flask.testing import FlaskClient

from tests.app.api.callers import Caller, assert_problem, job_body


def test_a_new_tenant_can_work_at_once(
    admin: Caller, caller: Caller, client: FlaskClient, photo: bytes
) -> None:
    body = {"name": "globex", "group": "vip", "zone": "Asia/Shanghai", "tokens": 50.5}
    made = admin.post("/v1/admin/tenants", json=body)
    assert made.status_code == 201, made.text
    assert made.json["balance"]["available"] == 50.5
    key = admin.post(f"/v1/admin/tenants/{made.json['id']}/keys", json={"name": "first"})
    assert key.status_code == 201
    own = Caller(client, key.json["key"], made.json["id"])
    file_id = own.upload(photo).json["id"]
    assert own.post("/v1/jobs", json=job_body(file_id)).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"name": ""}, 422, "invalid_request"),
        ({"name": "x", "zone": "Mars/Olympus"}, 422, "unknown_zone"),
        ({"name": "x", "group": "royal"}, 422, "invalid_request"),
        ({"name": "x", "tokens": -1}, 422, "invalid_request"),
        ({"name": "x", "tokens": 0}, 422, "invalid_request"),
        ({"name": "x", "tokens": "1"}, 422, "invalid_request"),
        ({"name": "x", "tokens": True}, 422, "invalid_request"),
        ({"name": "x", "tokens": 2**63 - 1}, 422, "invalid_amount"),
        ({"name": "x", "tokens": 0.0000001}, 422, "invalid_amount"),
        ({"name": "x", "is_admin": True}, 400, "unknown_field"),
    ],
)
def test_a_tenant_that_cannot_be_is_refused(
    admin: Caller, body: dict, status: int, code: str
) -> None:
    assert_problem(admin.post("/v1/admin/tenants", json=body), status=status, code=code)


def test_a_name_is_taken_once(admin: Caller) -> None:
    admin.post("/v1/admin/tenants", json={"name": "globex"})
    again = admin.post("/v1/admin/tenants", json={"name": "globex"})
    assert_problem(again, status=409, code="name_taken")


def test_the_same_key_makes_one_tenant_with_one_grant(admin: Caller) -> None:
    headers = {"Idempotency-Key": "globex"}
    body = {"name": "globex", "tokens": 10}
    answers = [admin.post("/v1/admin/tenants", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json == answers[1].json
    assert answers[1].json["balance"]["available"] == 10


def test_an_api_key_is_shown_once(admin: Caller) -> None:
    tenant = admin.post("/v1/admin/tenants", json={"name": "globex"}).json["id"]
    headers = {"Idempotency-Key": "key"}
    path = f"/v1/admin/tenants/{tenant}/keys"
    assert admin.post(path, json={}, headers=headers).json["key"].startswith("pm_live_")
    again = admin.post(path, json={}, headers=headers)
    assert_problem(again, status=409, code="key_already_shown")


def test_a_key_for_nobody_is_refused(admin: Caller) -> None:
    answer = admin.post("/v1/admin/tenants/ten_nobody/keys", json={})
    assert_problem(answer, status=404, code="tenant_not_found")


def test_the_queues_tell_what_waits(admin: Caller, caller: Caller, file_id: str) -> None:
    for priority in ("bulk", "bulk", "interactive"):
        caller.post("/v1/jobs", json=job_body(file_id, priority=priority))
    queues = admin.get("/v1/admin/queues").json
    waiting = {row["priority"]: row["jobs"] for row in queues["queued"]}
    assert waiting == {"bulk": 2, "interactive": 1}
    assert queues["running"] == 0
