"""Rules over HTTP, and what customers see of their grants."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker

from app.grants.tick import grant_due
from app.tenants.service import create_key
from tests.app.api.callers import Caller, assert_problem
from tests.app.api.test_openapi import fits

PATH = "/v1/admin/grant-rules"


def body(**fields: Any) -> dict[str, Any]:
    return {"name": "nightly", "kind": "daily", "amount": 5, "group": "free", **fields}


@pytest.fixture
def bob(client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    with sessions.begin() as session:
        return Caller(client, create_key(session, tenant_id=None, name="bob").minted.key, "")


def test_a_rule_is_made_and_grants_what_customers_then_see(
    app: APIFlask, admin: Caller, caller: Caller, sessions: sessionmaker[Session]
) -> None:
    made = admin.post(PATH, json=body(lifetime_days=1))
    fits(app, made)
    assert (made.json["enabled"], made.json["maker"]) == (True, "unnamed")
    for answer in (admin.get(PATH), admin.get(f"{PATH}/{made.json['id']}")):
        fits(app, answer)
    with sessions.begin() as session:
        assert grant_due(session, now=datetime.now(UTC) + timedelta(days=1)) == 1
    page = caller.get("/v1/grants?limit=1")
    fits(app, page)
    (quota,) = page.json["data"]
    assert (quota["kind"], quota["granted"], quota["remaining"]) == ("quota", 5, 5)
    rest = caller.get(f"/v1/grants?after={page.json['next_cursor']}").json
    assert [each["kind"] for each in rest["data"]] == ["grant"]
    assert caller.get("/v1/balance").json["grants"][0]["id"] == quota["id"]


def test_a_rule_is_switched_off_and_on(app: APIFlask, admin: Caller) -> None:
    made = admin.post(PATH, json=body()).json
    off = admin.post(f"{PATH}/{made['id']}/disable")
    fits(app, off)
    assert off.json["enabled"] is False
    on = admin.post(f"{PATH}/{made['id']}/enable")
    assert on.json["enabled"] is True
    assert on.json["enabled_at"] > made["enabled_at"]


def test_wrong_rules_are_refused(admin: Caller, caller: Caller) -> None:
    for wrong, status, code in (
        ({"amount": 0}, 422, "invalid_amount"),
        ({"amount": -1}, 422, "invalid_amount"),
        ({"amount": 0.0000001}, 422, "invalid_amount"),
        ({"kind": "yearly"}, 422, "invalid_request"),
        ({"kind": "monthly"}, 422, "invalid_grant_rule"),
        ({"kind": "monthly", "month_day": 32}, 422, "invalid_grant_rule"),
        ({"month_day": 3}, 422, "invalid_grant_rule"),
        ({"kind": "reward"}, 422, "invalid_grant_rule"),
        ({"kind": "reward", "measure": "jobs"}, 422, "invalid_grant_rule"),
        ({"measure": "jobs", "at_least": 3}, 422, "invalid_grant_rule"),
        ({"lifetime_days": 0}, 422, "invalid_grant_rule"),
        ({"tenants": ["acme"]}, 422, "invalid_grant_rule"),  # only a campaign has a list
        ({"kind": "campaign", "tenants": ["nobody"]}, 422, "unknown_user"),
        ({"kind": "campaign", "expires_at": "2020-01-01T00:00:00Z"}, 422, "invalid_grant_rule"),
        ({"group": "royal"}, 422, "invalid_request"),
        ({"enabled": True}, 400, "unknown_field"),
    ):
        answer = admin.post(PATH, json=body(**wrong))
        assert_problem(answer, status=status, code=code)
    assert admin.get(PATH).json["data"] == []
    assert_problem(admin.get(f"{PATH}/rule_no"), status=404, code="grant_rule_not_found")


def test_a_name_is_taken_once_and_a_key_makes_one_rule(admin: Caller) -> None:
    headers = {"Idempotency-Key": "nightly"}
    first = admin.post(PATH, json=body(), headers=headers)
    assert admin.post(PATH, json=body(), headers=headers).json == first.json
    assert_problem(admin.post(PATH, json=body()), status=409, code="name_taken")


def test_a_rule_that_gives_much_waits_for_a_second_operator(
    admin: Caller, bob: Caller, caller: Caller
) -> None:
    wanted = body(kind="campaign", group=None, tenants=["acme"], amount=100_000.5)
    made = admin.post(PATH, json=wanted).json
    assert (made["enabled"], made["approval"] is None) == (False, False)
    decide = f"/v1/admin/approvals/{made['approval']}/approve"
    assert_problem(admin.post(decide), status=403, code="self_approval")
    assert admin.get(f"{PATH}/{made['id']}").json["enabled"] is False
    assert bob.post(decide).json["result"] == {"enabled": True}
    assert admin.get(f"{PATH}/{made['id']}").json["enabled"] is True


def test_a_tenant_that_changes_its_group_is_due_from_the_next_night(
    admin: Caller, caller: Caller, sessions: sessionmaker[Session]
) -> None:
    admin.post(PATH, json=body(group="vip", amount=100))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with sessions.begin() as session:
        assert grant_due(session, now=tomorrow) == 0
    change = {"group": "vip", "zone": "Asia/Shanghai"}
    answer = admin.send("PATCH", f"/v1/admin/tenants/{caller.tenant_id}", json=change)
    assert (answer.json["group"], answer.json["zone"]) == ("vip", "Asia/Shanghai")
    with sessions.begin() as session:
        assert grant_due(session, now=tomorrow) == 1
    wrong = admin.send("PATCH", f"/v1/admin/tenants/{caller.tenant_id}", json={"zone": "Mars"})
    assert_problem(wrong, status=422, code="unknown_zone")


def test_customers_make_no_rules(caller: Caller) -> None:
    assert_problem(caller.post(PATH, json=body()), status=403, code="admin_key_required")
