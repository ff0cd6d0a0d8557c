"""Two people by their keys: the person counts, not the key."""

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker

from app.api import admin_approvals
from app.tenants.service import create_key
from billing.approvals import propose
from tests.app.api.callers import Caller, assert_problem

PATH = "/v1/admin/approvals"


@pytest.fixture
def operators(client: FlaskClient, sessions: sessionmaker[Session]) -> dict[str, Caller]:
    """Alice with two keys, and Bob."""
    with sessions.begin() as session:
        return {
            called: Caller(client, create_key(session, tenant_id=None, **who).minted.key, "")
            for called, who in {
                "alice": {"name": "laptop", "operator": "Alice"},
                "alice again": {"name": "phone", "operator": " ALICE "},
                "bob": {"name": "Bob"},
            }.items()
        }


@pytest.fixture
def asked(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> str:
    """What Alice proposed; approving it answers with a word."""
    monkeypatch.setattr(admin_approvals, "effects", lambda: {"test": lambda *_: {"done": True}})
    with sessions.begin() as session:
        values = {"kind": "test", "subject": "s", "payload": {"n": 1}, "maker": "alice"}
        return propose(session, approval_id="apr_1", now=datetime.now(UTC), **values).id


def test_another_operator_approves_once(operators: dict[str, Caller], asked: str) -> None:
    done = operators["bob"].post(f"{PATH}/{asked}/approve")
    assert done.status_code == 200, done.text
    assert (done.json["status"], done.json["maker"], done.json["checker"]) == (
        "approved",
        "alice",
        "bob",
    )
    assert done.json["result"] == {"done": True}
    again = operators["bob"].post(f"{PATH}/{asked}/approve")
    assert_problem(again, status=409, code="approval_decided")
    assert operators["alice"].get(f"{PATH}/{asked}").json == done.json


@pytest.mark.parametrize("key", ["alice", "alice again"])
def test_no_key_of_the_maker_approves(operators: dict[str, Caller], asked: str, key: str) -> None:
    answer = operators[key].post(f"{PATH}/{asked}/approve")
    assert_problem(answer, status=403, code="self_approval")
    assert operators["bob"].get(f"{PATH}/{asked}").json["status"] == "pending"


def test_rejecting_says_why(operators: dict[str, Caller], asked: str) -> None:
    answer = operators["bob"].post(f"{PATH}/{asked}/reject", json={"reason": "too much"})
    assert (answer.json["status"], answer.json["reason"]) == ("rejected", "too much")
    assert_problem(
        operators["bob"].post(f"{PATH}/{asked}/approve"), status=409, code="approval_decided"
    )


def test_an_old_one_is_expired(
    operators: dict[str, Caller], sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        values = {"kind": "test", "subject": "s", "payload": {}, "maker": "alice"}
        long_ago = datetime.now(UTC) - timedelta(hours=72, seconds=1)
        propose(session, approval_id="apr_old", now=long_ago, **values)
    answer = operators["bob"].post(f"{PATH}/apr_old/approve")
    assert_problem(answer, status=409, code="approval_expired")


def test_the_list_filters_and_pages(operators: dict[str, Caller], asked: str) -> None:
    page = operators["bob"].get(f"{PATH}?status=pending&kind=test&limit=1")
    assert [each["id"] for each in page.json["data"]] == [asked]
    assert operators["bob"].get(f"{PATH}?status=approved").json["data"] == []
    assert operators["bob"].get(f"{PATH}?status=odd").status_code == 422


def test_only_operators_see_and_decide(caller: Caller, operators: dict[str, Caller]) -> None:
    for answer in (caller.get(PATH), caller.post(f"{PATH}/apr_1/approve")):
        assert_problem(answer, status=403, code="admin_key_required")
    for act in ("approve", "reject"):
        answer = operators["bob"].post(f"{PATH}/apr_none/{act}", json={})
        assert_problem(answer, status=404, code="approval_not_found")


def test_all_keys_without_a_name_are_one_person(
    client: FlaskClient, sessions: sessionmaker[Session], asked: str
) -> None:
    with sessions.begin() as session:
        values = {"kind": "test", "subject": "s", "payload": {}, "maker": "unnamed"}
        propose(session, approval_id="apr_2", now=datetime.now(UTC), **values)
        nameless = Caller(client, create_key(session, tenant_id=None).minted.key, "")
    answer = nameless.post(f"{PATH}/apr_2/approve")
    assert_problem(answer, status=403, code="self_approval")


def test_nobody_approves_from_elsewhere(operators: dict[str, Caller], asked: str) -> None:
    elsewhere = {"REMOTE_ADDR": "203.0.113.9"}
    answer = operators["bob"].post(f"{PATH}/{asked}/approve", environ_overrides=elsewhere)
    assert_problem(answer, status=403, code="address_not_allowed")
    assert operators["bob"].get(f"{PATH}/{asked}").json["status"] == "pending"
