"""Caps, freezing and alerts over HTTP: they bind at once, say why, and tell their owner once."""

import json

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import utc_now
from app.limits.notices import tell_of_crossings
from app.tenants.service import create_key
from tests.app.api.callers import Caller, Traces, assert_problem, job_body, run_and_settle
from tests.app.api.test_openapi import fits


@pytest.fixture
def hook(caller: Caller) -> None:
    """The tenant listens to everything."""
    made = caller.post("/v1/webhook-endpoints", json={"url": "https://example.com/hook"})
    assert made.status_code == 201


def told(sessions: sessionmaker[Session]) -> list[dict]:
    """The events that are booked, oldest first, without those of jobs."""
    with sessions() as session:
        bodies = session.scalars(text("SELECT body FROM webhook_event ORDER BY id"))
        return [
            event for body in bodies if not (event := json.loads(body))["type"].startswith("job")
        ]


def set_cap(caller: Caller, limit: float, **fields) -> dict:
    answer = caller.post("/v1/caps", json={"window": "day", "limit": limit, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json


def test_a_cap_of_ones_own_refuses_the_job_that_would_pass_it(
    caller: Caller, file_id: str, traces: Traces
) -> None:
    set_cap(caller, 0.5)
    first = caller.post("/v1/jobs", json=job_body(file_id))
    assert first.status_code == 202
    before = traces.look()
    refused = caller.post("/v1/jobs", json=job_body(file_id), headers={"Idempotency-Key": "k"})
    problem = assert_problem(refused, status=402, code="cap_reached")
    assert "daily cap of the tenant is reached: of 0.5 tokens 0 are used" in problem["detail"]
    assert "starts anew at" in problem["detail"]
    assert traces.look() == before
    # The key is free again: once there is room, the same request makes the job.
    set_cap(caller, 5)
    again = caller.post("/v1/jobs", json=job_body(file_id), headers={"Idempotency-Key": "k"})
    assert again.status_code == 202


def test_a_cap_that_is_set_between_quote_and_submit_binds(
    caller: Caller, admin: Caller, file_id: str, traces: Traces
) -> None:
    quote = caller.post("/v1/quotes", json=job_body(file_id)).json
    assert quote["sufficient"]
    before = traces.look()
    path = f"/v1/admin/tenants/{caller.tenant_id}/cap"
    admin.post(path, json={"window": "month", "limit": quote["max_tokens"] / 2})
    refused = caller.post("/v1/jobs", json=job_body(file_id))
    assert_problem(refused, status=402, code="cap_reached")
    assert traces.look() == before


def test_the_list_shows_how_full_each_cap_is(
    caller: Caller, admin: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        key = create_key(session, tenant_id=caller.tenant_id, project="web", name="shop")
    shop = Caller(caller.client, key.minted.key, caller.tenant_id)
    path = f"/v1/admin/tenants/{caller.tenant_id}/cap"
    assert admin.post(path, json={"window": "month", "limit": 50}).status_code == 201
    set_cap(caller, 2, scope="project", subject="web")
    set_cap(caller, 3, scope="key", subject=key.id)
    set_cap(caller, 4, scope="end_user", subject="*")
    job = shop.post("/v1/jobs", json=job_body(file_id, user="anna"))
    caller.post("/v1/jobs", json=job_body(file_id))
    run_and_settle(sessions, job.json["id"])
    price = caller.get(f"/v1/jobs/{job.json['id']}").json["usage"]["tokens"]
    tenant, project, of_key, each = caller.get("/v1/caps").json["data"]
    assert (tenant["used"], tenant["reserved"]) == (price, price)
    assert (tenant["set_by"], tenant["subject"], tenant["remaining"]) == (
        "operator",
        None,
        50 - 2 * price,
    )
    assert (project["name"], project["used"], project["reserved"]) == ("web", price, 0)
    assert (of_key["subject"], of_key["name"], of_key["used"]) == (key.id, "shop", price)
    assert (each["subject"], each["fullest"], each["used"]) == ("*", "anna", price)
    assert admin.get(path).json == caller.get("/v1/caps").json


def test_who_set_a_cap_ends_it_and_nobody_else(
    caller: Caller, admin: Caller, stranger: Caller, file_id: str
) -> None:
    mine = set_cap(caller, 0)
    admin_path = f"/v1/admin/tenants/{caller.tenant_id}/cap"
    theirs = admin.post(admin_path, json={"window": "day", "limit": 9}).json
    for who, path in (
        (stranger, f"/v1/caps/{mine['id']}"),
        (caller, f"/v1/caps/{theirs['id']}"),
        (admin, f"{admin_path}/{mine['id']}"),
        (caller, "/v1/caps/nothing"),
        (caller, f"/v1/caps/{'9' * 40}"),
    ):
        assert_problem(who.send("DELETE", path), status=404, code="cap_not_found")
    assert_problem(caller.post("/v1/jobs", json=job_body(file_id)), status=402, code="cap_reached")
    assert caller.send("DELETE", f"/v1/caps/{mine['id']}").status_code == 204
    assert admin.send("DELETE", f"{admin_path}/{theirs['id']}").status_code == 204
    assert caller.get("/v1/caps").json["data"] == []
    assert caller.post("/v1/jobs", json=job_body(file_id)).status_code == 202


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"limit": -1}, 422, "invalid_amount"),
        ({"limit": 0.0000001}, 422, "invalid_amount"),
        ({"limit": 1e300}, 422, "invalid_amount"),
        ({"limit": "9"}, 422, "invalid_request"),
        ({"window": "week"}, 422, "invalid_cap_window"),
        ({"scope": "planet"}, 422, "invalid_cap_scope"),
        ({"scope": "tenant", "subject": "x"}, 422, "invalid_cap_subject"),
        ({"scope": "project"}, 422, "invalid_cap_subject"),
        ({"scope": "project", "subject": "nowhere"}, 404, "project_not_found"),
        ({"scope": "key", "subject": "key_nobody"}, 404, "key_not_found"),
        ({"zone": "Mars"}, 400, "unknown_field"),
    ],
)
def test_a_cap_that_cannot_be_is_refused_with_a_code_of_its_own(
    caller: Caller, fields: dict, status: int, code: str
) -> None:
    answer = caller.post("/v1/caps", json={"window": "day", "limit": 5, **fields})
    assert_problem(answer, status=status, code=code)
    assert caller.get("/v1/caps").json["data"] == []


def test_another_tenants_project_and_key_are_unknown(
    caller: Caller, stranger: Caller, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        key = create_key(session, tenant_id=stranger.tenant_id, project="theirs").id
    for fields, code in (
        ({"scope": "project", "subject": "theirs"}, "project_not_found"),
        ({"scope": "key", "subject": key}, "key_not_found"),
    ):
        answer = caller.post("/v1/caps", json={"window": "day", "limit": 5, **fields})
        assert_problem(answer, status=404, code=code)


def test_the_owner_hears_once_per_window_that_a_cap_refused(
    caller: Caller, file_id: str, hook: None, sessions: sessionmaker[Session]
) -> None:
    set_cap(caller, 0.1)
    for key in (None, "k", None):
        headers = {} if key is None else {"Idempotency-Key": key}
        refused = caller.post("/v1/jobs", json=job_body(file_id), headers=headers)
        assert_problem(refused, status=402, code="cap_reached")
    (event,) = told(sessions)
    assert event["type"] == "cap.reached"
    assert event["data"]["percent"] == 100
    assert event["data"]["cap"]["limit"] == 0.1
    # A limit that was raised is another one to reach.
    set_cap(caller, 0.2)
    caller.post("/v1/jobs", json=job_body(file_id))
    assert len(told(sessions)) == 2


def test_thresholds_are_told_once_each_and_the_highest_of_those_passed_at_once(
    caller: Caller, file_id: str, hook: None, sessions: sessionmaker[Session]
) -> None:
    price = caller.post("/v1/quotes", json=job_body(file_id)).json["tokens"]
    set_cap(caller, round(price * 6, 6))

    def spend_and_look() -> list:
        job = caller.post("/v1/jobs", json=job_body(file_id)).json["id"]
        run_and_settle(sessions, job)
        for _ in range(2):
            with sessions.begin() as session:
                tell_of_crossings(session, at=utc_now())
        return [(each["type"], each["data"]["percent"]) for each in told(sessions)]

    expected: list = []
    for spent, news in ((1, None), (2, None), (3, 50), (4, None), (5, 80), (6, 100)):
        if news is not None:
            expected.append(("cap.reached" if news == 100 else "cap.near", news))
        assert spend_and_look() == expected, spent


def test_a_low_balance_is_told_once_until_it_has_recovered(
    caller: Caller, file_id: str, hook: None, sessions: sessionmaker[Session]
) -> None:
    def look() -> int:
        with sessions.begin() as session:
            tell_of_crossings(session, at=utc_now())
        return len(told(sessions))

    def set_available(tokens: int) -> None:
        with sessions.begin() as session:
            session.execute(
                text("UPDATE billing.wallet SET available = :n WHERE tenant = :t"),
                {"n": tokens * 1_000_000, "t": caller.tenant_id},
            )

    assert caller.get("/v1/balance/alert").json == {"below": None}
    assert caller.post("/v1/balance/alert", json={"below": 100}).json == {"below": 100}
    counts = []
    for available in (1000, 99, 50, 105, 99, 110, 99):
        set_available(available)
        counts.append(look())
    assert counts == [0, 1, 1, 1, 1, 1, 2]
    event = told(sessions)[0]
    assert (event["type"], event["data"]) == ("balance.low", {"available": 99, "threshold": 100})
    assert caller.post("/v1/balance/alert", json={"below": None}).json == {"below": None}


@pytest.mark.parametrize(
    ("below", "code"), [(0, "invalid_alert"), (-1, "invalid_amount"), (1e12, "invalid_amount")]
)
def test_an_alert_that_cannot_be_is_refused(caller: Caller, below: float, code: str) -> None:
    answer = caller.post("/v1/balance/alert", json={"below": below})
    assert_problem(answer, status=422, code=code)


@pytest.mark.usefixtures("hook")
def test_a_frozen_tenant_reads_and_finishes_and_starts_nothing_new(
    caller: Caller,
    admin: Caller,
    file_id: str,
    sessions: sessionmaker[Session],
    traces: Traces,
) -> None:
    running = caller.post("/v1/jobs", json=job_body(file_id)).json["id"]
    path = f"/v1/admin/tenants/{caller.tenant_id}"
    for _ in range(2):
        frozen = admin.post(f"{path}/freeze", json={"reason": "a stolen key"})
        assert (frozen.status_code, frozen.json["reason"]) == (200, "a stolen key")
    before = traces.look()
    for headers in ({}, {"Idempotency-Key": "k"}):
        refused = caller.post("/v1/jobs", json=job_body(file_id), headers=headers)
        assert_problem(refused, status=403, code="tenant_frozen")
    assert traces.look() == before
    assert caller.get("/v1/balance").status_code == 200
    run_and_settle(sessions, running)
    assert caller.get(f"/v1/jobs/{running}").json["usage"]["tokens"] > 0
    assert [each["type"] for each in told(sessions)] == ["tenant.frozen"]
    assert told(sessions)[0]["data"]["reason"] == "a stolen key"
    assert admin.post(f"{path}/unfreeze").json["frozen"] is False
    assert caller.post("/v1/jobs", json=job_body(file_id)).status_code == 202


def test_freezing_needs_an_admin_a_tenant_and_a_reason(caller: Caller, admin: Caller) -> None:
    path = f"/v1/admin/tenants/{caller.tenant_id}"
    refused = caller.post(f"{path}/freeze", json={"reason": "x"})
    assert_problem(refused, status=403, code="admin_key_required")
    refused = admin.post(f"{path}/freeze", json={"reason": "  "})
    assert_problem(refused, status=422, code="reason_missing")
    for address in ("freeze", "unfreeze", "cap"):
        body = {"freeze": {"reason": "x"}, "cap": {"window": "day", "limit": 1}}.get(address)
        refused = admin.post(f"/v1/admin/tenants/ten_nobody/{address}", json=body)
        assert_problem(refused, status=404, code="tenant_not_found")


def test_operators_limits_are_in_the_audit_log(caller: Caller, admin: Caller) -> None:
    path = f"/v1/admin/tenants/{caller.tenant_id}"
    cap = admin.post(f"{path}/cap", json={"window": "day", "limit": 9}).json
    admin.send("DELETE", f"{path}/cap/{cap['id']}")
    admin.post(f"{path}/freeze", json={"reason": "why"})
    admin.post(f"{path}/unfreeze")
    rows = admin.get("/v1/admin/audit?kind=action").json["data"]
    assert [(row["action"], row["subject"]) for row in reversed(rows)] == [
        (action, caller.tenant_id)
        for action in ("cap.set", "cap.end", "tenant.freeze", "tenant.unfreeze")
    ]


def test_answers_about_limits_fit_their_schemas(app, caller: Caller, admin: Caller) -> None:
    path = f"/v1/admin/tenants/{caller.tenant_id}"
    for answer in (
        caller.post("/v1/caps", json={"window": "day", "limit": 9}),
        caller.get("/v1/caps"),
        caller.post("/v1/balance/alert", json={"below": 9}),
        caller.get("/v1/balance/alert"),
        admin.post(f"{path}/cap", json={"window": "month", "limit": 9}),
        admin.get(f"{path}/cap"),
        admin.post(f"{path}/freeze", json={"reason": "why"}),
        admin.post(f"{path}/unfreeze"),
    ):
        fits(app, answer)
