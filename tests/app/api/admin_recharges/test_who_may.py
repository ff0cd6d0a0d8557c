"""Who may recharge, from where, how often and how much alone; what needs a second operator."""

import itertools
from dataclasses import replace
from ipaddress import ip_network

from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from app.api.services import EXTENSION, Services
from tests.app.api.admin_recharges.conftest import BULK, USERS, Books, body
from tests.app.api.callers import Caller, assert_problem
from tests.app.api.test_openapi import fits


def test_large_totals_wait_for_a_second_operator(
    app: APIFlask, alice: Caller, bob: Caller, books: Books
) -> None:
    assert alice.post(BULK, json=body(users=["ann", "ben"], amount=50_000)).status_code == 200
    asked = alice.post(BULK, json=body(users=["ann", "cem"], amount=50_000.000001))
    assert asked.status_code == 202
    fits_except_status(app, asked)
    assert (asked.json["status"], asked.json["succeeded"]) == ("pending_approval", 0)
    assert books.available()["cem"] == 0
    path = f"/v1/admin/recharges/{asked.json['id']}"
    assert_problem(alice.post(f"{path}/approve"), status=403, code="self_approval")
    assert books.available()["cem"] == 0
    done = bob.post(f"{path}/approve")
    fits(app, done)
    assert (done.json["status"], done.json["succeeded"]) == ("completed", 2)
    assert books.available() == {"ann": 100_000, "ben": 50_000, "cem": 50_000}
    assert_problem(bob.post(f"{path}/approve"), status=409, code="approval_decided")
    assert books.available()["cem"] == 50_000
    line = alice.get(f"{path}/log").json["data"][0]
    assert (line["balance_before"], line["balance_after"]) == (50_000, 100_000.000001)


def fits_except_status(app: APIFlask, answer: TestResponse) -> None:
    described = app.view_functions["admin_recharges.bulk"]._spec["response"]
    described["schema"].model_validate_json(answer.data, strict=True)


def test_what_was_rejected_or_expired_is_never_booked(
    alice: Caller, bob: Caller, books: Books, sessions: sessionmaker[Session]
) -> None:
    first, second = (alice.post(BULK, json=body(amount=100_000)).json["id"] for _ in range(2))
    said_no = bob.post(f"/v1/admin/recharges/{first}/reject", json={"reason": "no"})
    assert said_no.json["status"] == "rejected"
    answer = bob.post(f"/v1/admin/recharges/{first}/approve")
    assert_problem(answer, status=409, code="approval_decided")
    with sessions.begin() as session:
        session.execute(text("ALTER TABLE billing.approval DISABLE TRIGGER decided_once"))
        session.execute(
            text(
                "UPDATE billing.approval SET created_at = created_at - interval '72 hours',"
                " expires_at = expires_at - interval '72 hours' WHERE subject = :id"
            ),
            {"id": second},
        )
    answer = bob.post(f"/v1/admin/recharges/{second}/approve")
    assert_problem(answer, status=409, code="approval_expired")
    assert books.available() == dict.fromkeys(USERS, 0)


def test_what_one_operator_gives_alone_in_a_day_is_limited(
    app: APIFlask, kit: Services, alice: Caller, bob: Caller, books: Books
) -> None:
    tight = replace(kit.settings, recharge_alone_daily_tokens=25)
    app.extensions[EXTENSION] = replace(kit, settings=tight)
    assert alice.post(BULK, json=body(users=["ann"], amount=20)).json["status"] == "completed"
    more = alice.post(BULK, json=body(users=["ann"], amount=6)).json
    assert more["status"] == "pending_approval"
    assert bob.post(BULK, json=body(users=["ann"], amount=6)).json["status"] == "completed"


def test_a_small_recharge_has_nothing_to_approve(alice: Caller, bob: Caller) -> None:
    made = alice.post(BULK, json=body()).json["id"]
    answer = bob.post(f"/v1/admin/recharges/{made}/approve")
    assert_problem(answer, status=409, code="approval_not_needed")
    for act in ("approve", "reject"):
        answer = bob.post(f"/v1/admin/recharges/rch_none/{act}", json={})
        assert_problem(answer, status=404, code="recharge_not_found")


def test_too_many_recharges_a_minute_are_refused(
    app: APIFlask, kit: Services, alice: Caller, bob: Caller
) -> None:
    app.extensions[EXTENSION] = replace(kit, settings=replace(kit.settings, recharge_per_minute=2))
    for _ in range(2):
        assert alice.post(BULK, json=body()).status_code == 200
    answer = alice.post(BULK, json=body())
    assert_problem(answer, status=429, code="rate_limited")
    assert answer.headers["Retry-After"] == "60"
    assert bob.post(BULK, json=body()).status_code == 200


def test_customers_cannot_recharge(caller: Caller) -> None:
    for answer in (caller.post(BULK, json=body()), caller.get("/v1/admin/recharges")):
        assert_problem(answer, status=403, code="admin_key_required")


def test_only_true_addresses_count(app: APIFlask, kit: Services, alice: Caller) -> None:
    """The proxies add whom they see; what stands before that is the caller's own invention."""
    for proxies, spoofed, from_office in itertools.product(range(3), range(3), (True, False)):
        settings = replace(
            kit.settings, proxy_hops=proxies, recharge_allow=(ip_network("203.0.113.0/24"),)
        )
        app.extensions[EXTENSION] = replace(kit, settings=settings)
        true_address = "203.0.113.9" if from_office else "198.51.100.7"
        claimed = "198.51.100.8" if from_office else "203.0.113.1"
        hops = [true_address, "10.0.0.2", "10.0.0.1"]
        values = [*[claimed] * spoofed, *hops[:proxies]]
        answer = alice.post(
            BULK,
            json=body(dry_run=True),
            headers={"X-Forwarded-For": ", ".join(values)} if values else {},
            environ_overrides={"REMOTE_ADDR": hops[proxies]},
        )
        if from_office:
            assert answer.status_code == 200, (proxies, spoofed, answer.text)
        else:
            assert_problem(answer, status=403, code="address_not_allowed")
