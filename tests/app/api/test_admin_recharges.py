"""Tokens for many over HTTP: who may, what is booked, what comes back, and what is refused."""

import itertools
import threading
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from app.api.services import EXTENSION, Services
from app.secret_box import SecretBox
from app.tenants.service import create_key, create_tenant
from billing.reconcile import check
from billing.wallets import balance
from tests.app.api.callers import Caller, assert_problem
from tests.app.api.conftest import SECRET
from tests.app.api.test_openapi import fits

BULK = "/v1/admin/recharges/bulk"
USERS = ("ann", "ben", "cem")


@pytest.fixture
def people(sessions: sessionmaker[Session]) -> dict[str, str]:
    """Three tenants; their ids by name."""
    with sessions.begin() as session:
        return {name: create_tenant(session, name=name, box=SecretBox(SECRET)).id for name in USERS}


@pytest.fixture
def alice(client: FlaskClient, sessions: sessionmaker[Session], people: dict[str, str]) -> Caller:
    with sessions.begin() as session:
        return Caller(client, create_key(session, tenant_id=None, name="alice").minted.key, "")


@pytest.fixture
def bob(client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    with sessions.begin() as session:
        return Caller(client, create_key(session, tenant_id=None, name="bob").minted.key, "")


def body(**fields: Any) -> dict[str, Any]:
    return {"users": list(USERS), "amount": 5, "operator": "desk 3", "reason": "spring", **fields}


def send_file(caller: Caller, content: bytes, *, key: str | None = None, **fields: str):
    parts = {"operator": "desk 3", "reason": "spring", **fields}
    head = b"".join(
        b'--mark\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (name.encode(), value.encode())
        for name, value in parts.items()
    )
    file = b'--mark\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    return caller.post(
        BULK,
        data=head + file + content + b"\r\n--mark--\r\n",
        content_type="multipart/form-data; boundary=mark",
        headers={} if key is None else {"Idempotency-Key": key},
    )


class Books:
    """What stands in the ledger."""

    def __init__(self, sessions: sessionmaker[Session], people: dict[str, str]) -> None:
        self.sessions, self.people = sessions, people

    def available(self) -> dict[str, int]:
        with self.sessions() as session:
            return {
                name: balance(session, tenant).available // 1_000_000
                for name, tenant in self.people.items()
            }

    def rows(self) -> dict[str, int]:
        tables = ("recharge", "recharge_row", "journal", "token_grant", "approval")
        with self.sessions() as session:
            return {
                name: session.execute(text(f"SELECT count(*) FROM billing.{name}")).scalar_one()
                for name in tables
            }


@pytest.fixture
def books(sessions: sessionmaker[Session], people: dict[str, str]) -> Books:
    return Books(sessions, people)


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


def test_a_file_gives_each_user_its_own_amount(app: APIFlask, alice: Caller, books: Books) -> None:
    content = b"user,amount,expires_at\nann,1,\nben,2.5,2100-01-01\nnobody,3,\ncem,-4,\n"
    answer = send_file(alice, content)
    assert answer.status_code == 200, answer.text
    fits(app, answer)
    codes = {each["user"]: each["code"] for each in answer.json["failed_users"]}
    assert codes == {"nobody": "unknown_user", "cem": "invalid_amount"}
    assert books.available() == {"ann": 1, "ben": 2, "cem": 0}


def test_a_file_is_booked_once(alice: Caller, books: Books) -> None:
    content = b"user,amount\nann,1\n"
    first = send_file(alice, content)
    rows = books.rows()
    assert send_file(alice, content).json == first.json
    for answer in (send_file(alice, content, key="other"), send_file(alice, content, reason="x")):
        assert (
            first.json["id"]
            in assert_problem(answer, status=409, code="file_already_sent")["detail"]
        )
    assert books.rows() == rows
    assert send_file(alice, content, repeat="true").json["id"] != first.json["id"]
    assert books.available()["ann"] == 2


def test_a_file_with_a_bad_row_is_refused_as_a_whole_in_mode_atomic(
    alice: Caller, books: Books
) -> None:
    answer = send_file(alice, b"user,amount\nann,1\nnobody,1\n", mode="atomic")
    problem = assert_problem(answer, status=422, code="unknown_user")
    assert "nobody" in problem["detail"]
    assert books.available()["ann"] == 0


WRONG_FILES = (
    (b"\xef\xbb\xbfuser,amount\nann,1\n", "csv_byte_order_mark"),
    (b"user;amount\nann;1\n", "csv_semicolons"),
    (b"user,amount\nann,1\n=1+1,2\n", "csv_formula_cell"),
    (b"ann,1\n", "csv_header_missing"),
    (b"", "csv_empty"),
    (b"user,amount\n\xff,1\n", "csv_not_utf8"),
)


def test_a_wrong_file_has_a_code_and_leaves_nothing(alice: Caller, books: Books) -> None:
    before = books.rows()
    for content, code in WRONG_FILES:
        assert_problem(send_file(alice, content), status=422, code=code)
    assert books.rows() == before


def test_a_huge_file_is_refused_before_it_is_read(alice: Caller, books: Books) -> None:
    """1 GB announced: nothing of it is read. Not announced: reading stops at the limit."""

    class Endless:
        """A gigabyte of lines that counts how much of it was taken."""

        taken = 0

        def read(self, size: int = -1) -> bytes:
            assert size > 0
            self.taken += size
            return b"ann,1\n" * (size // 6 + 1)

    form = "multipart/form-data; boundary=mark"
    announced, silent = Endless(), Endless()
    environ = {"wsgi.input": announced, "CONTENT_LENGTH": str(2**30)}
    answer = alice.post(BULK, content_type=form, environ_overrides=environ)
    assert_problem(answer, status=413, code="body_too_large")
    assert announced.taken == 0

    head = b'--mark\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    first = silent.read

    def read(size: int = -1) -> bytes:
        return head if silent.taken == 0 and first(size) else first(size)

    silent.read = read  # type: ignore[method-assign]
    environ = {"wsgi.input": silent, "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    answer = alice.post(BULK, content_type=form, environ_overrides=environ)
    assert_problem(answer, status=413, code="body_too_large")
    assert silent.taken < 10 * 2**20
    assert books.rows()["recharge"] == 0


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
