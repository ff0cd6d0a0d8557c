"""Tokens for many over HTTP: what is booked, what comes back, and what is refused."""

import threading
from dataclasses import replace

from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from billing.reconcile import check
from tests.app.api.admin_recharges.conftest import BULK, USERS, Books, body
from tests.app.api.callers import Caller, assert_problem
from tests.app.api.test_openapi import fits


def test_everybody_gets_the_same(
    app: APIFlask, alice: Caller, books: Books, sessions: sessionmaker[Session]
) -> None:
    answer = alice.post(BULK, json=body(amount=5.5))
    assert answer.status_code == 200, answer.text
    fits(app, answer)
    assert (answer.json["status"], answer.json["succeeded"]) == ("completed", 3)
    assert answer.json["failed_users"] == []
    assert answer.json["tokens"] == 16.5
    assert answer.json["maker"] == "alice"
    assert books.available() == dict.fromkeys(USERS, 5)
    with sessions() as session:
        assert check(session) == []


def test_good_rows_are_booked_and_bad_ones_come_back(
    app: APIFlask, alice: Caller, books: Books
) -> None:
    users = ["ann", "nobody", books.people["ann"], "ben", ""]
    answer = alice.post(BULK, json=body(users=users))
    assert answer.json["status"] == "completed"
    assert (answer.json["succeeded"], answer.json["failed"]) == (2, 3)
    failed = {(each["row"], each["user"], each["code"]) for each in answer.json["failed_users"]}
    assert failed == {
        (2, "nobody", "unknown_user"),
        (3, books.people["ann"], "duplicate_user"),
        (5, "", "unknown_user"),
    }
    assert books.available() == {"ann": 5, "ben": 5, "cem": 0}
    again = alice.get(f"/v1/admin/recharges/{answer.json['id']}")
    fits(app, again)
    assert again.json == answer.json


def test_atomic_books_nothing_when_one_row_is_bad(alice: Caller, books: Books) -> None:
    before = books.rows()
    answer = alice.post(BULK, json=body(users=["ann", "nobody", "ben"], mode="atomic"))
    problem = assert_problem(answer, status=422, code="unknown_user")
    assert "nobody" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/users/1"
    assert books.rows() == before
    assert alice.post(BULK, json=body(mode="atomic")).json["succeeded"] == 3


WRONG = (
    ({"amount": 0}, 422, "invalid_amount"),
    ({"amount": -5}, 422, "invalid_amount"),
    ({"amount": 1_000_000_001}, 422, "invalid_amount"),
    ({"amount": 2**63 - 1}, 422, "invalid_amount"),
    ({"amount": 0.0000001}, 422, "invalid_amount"),
    ({"amount": "5"}, 422, "invalid_request"),
    ({"amount": True}, 422, "invalid_request"),
    ({"amount": None}, 422, "invalid_request"),
    ({"users": []}, 422, "invalid_request"),
    ({"users": "ann"}, 422, "invalid_request"),
    ({"users": [5]}, 422, "invalid_request"),
    ({"operator": ""}, 422, "invalid_request"),
    ({"reason": ""}, 422, "invalid_request"),
    ({"mode": "maybe"}, 422, "invalid_request"),
    ({"maker": "bob"}, 400, "unknown_field"),
    ({"users": ["ann", "ann"], "mode": "atomic"}, 422, "duplicate_user"),
    ({"expires_at": "2020-01-01T00:00:00Z", "mode": "atomic"}, 422, "invalid_expiry"),
)


def test_bad_input_has_a_code_and_leaves_nothing(alice: Caller, books: Books) -> None:
    before = books.rows()
    for wrong, status, code in WRONG:
        assert_problem(alice.post(BULK, json=body(**wrong)), status=status, code=code)
    assert books.rows() == before


def test_every_row_is_logged_with_the_balance_around_it(
    app: APIFlask, alice: Caller, books: Books
) -> None:
    alice.post(BULK, json=body(users=["ann"], amount=2))
    made = alice.post(BULK, json=body(users=["ann", "=cmd()", "ben"], reason="@later")).json
    path = f"/v1/admin/recharges/{made['id']}/log"
    page = alice.get(f"{path}?limit=2")
    fits(app, page)
    ann, bad = page.json["data"]
    assert (ann["balance_before"], ann["amount"], ann["balance_after"]) == (2, 5, 7)
    assert (ann["operator"], ann["reason"], ann["status"]) == ("desk 3", "@later", "booked")
    assert (bad["user"], bad["status"], bad["code"]) == ("=cmd()", "failed", "unknown_user")
    rest = alice.get(f"{path}?limit=2&after={page.json['next_cursor']}").json
    assert [each["user"] for each in rest["data"]] == ["ben"]
    exported = alice.get(f"{path}.csv")
    assert exported.content_type.startswith("text/csv")
    assert "'=cmd()" in exported.text
    assert "'@later" in exported.text
    assert ",=cmd" not in exported.text
    listing = alice.get("/v1/admin/recharges?limit=1")
    fits(app, listing)
    assert listing.json["data"][0]["id"] == made["id"]


def test_the_same_key_books_once(alice: Caller, books: Books) -> None:
    headers = {"Idempotency-Key": "spring-1"}
    first = alice.post(BULK, json=body(), headers=headers)
    rows = books.rows()
    again = alice.post(BULK, json=body(), headers=headers)
    assert again.json == first.json
    assert again.headers["Idempotent-Replayed"] == "true"
    assert books.rows() == rows
    other = alice.post(BULK, json=body(amount=6), headers=headers)
    assert_problem(other, status=409, code="idempotency_mismatch")


def test_the_same_key_at_the_same_time_books_once(
    app: APIFlask, alice: Caller, books: Books
) -> None:
    answers: list[TestResponse] = []

    def send() -> None:
        own = replace(alice, client=app.test_client())
        answers.append(own.post(BULK, json=body(), headers={"Idempotency-Key": "spring-1"}))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert books.rows()["recharge"] == 1
    assert books.available() == dict.fromkeys(USERS, 5)


def test_a_dry_run_says_everything_and_books_nothing(
    app: APIFlask, alice: Caller, books: Books
) -> None:
    before = books.rows()
    answer = alice.post(BULK, json=body(users=["ann", "nobody"], amount=200_000, dry_run=True))
    fits(app, answer)
    found = answer.json
    assert (found["id"], found["status"], found["needs_approval"]) == (None, "dry_run", True)
    assert (found["tokens"], found["succeeded"], found["failed"]) == (200_000, 1, 1)
    assert books.rows() == before


def test_one_bad_row_costs_nothing_to_thousands(
    alice: Caller, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO tenant (id, name, tenant_group, zone, mode, consent_mode, weight,"
                " max_in_flight, webhook_secret)"
                " SELECT 'ten_' || n, 'user ' || n, 'free', 'UTC', 'prepaid', 'request', 1, 1, ''"
                " FROM generate_series(1, 9999) n"
            )
        )
        session.execute(
            text("INSERT INTO billing.wallet (tenant) SELECT id FROM tenant ON CONFLICT DO NOTHING")
        )
    users = [f"user {n}" for n in range(1, 10_000)]
    users.insert(5000, "nobody")
    answer = alice.post(BULK, json=body(users=users, amount=1))
    assert (answer.json["succeeded"], answer.json["failed"]) == (9999, 1)
    assert answer.json["failed_users"][0]["row"] == 5001
    with sessions() as session:
        assert check(session) == []
