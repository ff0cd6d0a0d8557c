import pytest
from sqlalchemy.orm import Session, sessionmaker

from billing.audit import seal
from tests.app.api.callers import Caller, assert_problem


def test_admin_actions_stand_in_the_log_without_any_secret(admin: Caller) -> None:
    tenant = admin.post("/v1/admin/tenants", json={"name": "globex", "tokens": 5}).json["id"]
    key = admin.post(f"/v1/admin/tenants/{tenant}/keys", json={"name": "first"}).json
    answer = admin.get("/v1/admin/audit", query_string={"kind": "action"})
    made_key, made_tenant = answer.json["data"]
    assert (made_tenant["action"], made_tenant["subject"]) == ("tenant.create", tenant)
    assert made_tenant["detail"]["tokens"] == 5
    assert (made_key["action"], made_key["subject"]) == ("key.create", key["id"])
    assert made_key["actor"] == made_tenant["actor"]
    assert key["key"] not in answer.text


def test_a_refused_action_is_not_in_the_log(admin: Caller) -> None:
    admin.post("/v1/admin/tenants", json={"name": "x", "tokens": 2**63 - 1})
    assert admin.get("/v1/admin/audit").json["data"] == []


def test_the_log_is_paged_and_holds_the_journals_too(
    admin: Caller, sessions: sessionmaker[Session]
) -> None:
    for number in range(3):
        admin.post("/v1/admin/tenants", json={"name": f"t{number}", "tokens": 5})
    with sessions.begin() as session:
        assert seal(session) == 3
    first = admin.get("/v1/admin/audit?limit=4").json
    assert first["has_more"]
    rest = admin.get(f"/v1/admin/audit?limit=4&after={first['next_cursor']}").json
    rows = [*first["data"], *rest["data"]]
    assert [row["seq"] for row in rows] == [6, 5, 4, 3, 2, 1]
    journals = admin.get("/v1/admin/audit?kind=journal").json["data"]
    assert [row["action"] for row in journals] == ["journal.grant"] * 3


@pytest.mark.parametrize("query", ["kind=all", "limit=0", "limit=101", "after=0", "after=x"])
def test_a_page_that_cannot_be_is_refused(admin: Caller, query: str) -> None:
    assert_problem(admin.get(f"/v1/admin/audit?{query}"), status=422, code="invalid_request")


def test_the_log_is_for_admins(caller: Caller) -> None:
    assert_problem(caller.get("/v1/admin/audit"), status=403, code="admin_key_required")
