"""Who attested that the persons shown agreed: kept with every face job, shown to operators."""

import base64

import pytest
from sqlalchemy import text

from tests.app.api.callers import Caller, assert_problem
from tests.app.api.test_openapi import fits


@pytest.fixture
def swap(portrait: bytes):
    data = f"data:image/jpeg;base64,{base64.b64encode(portrait).decode()}"
    return {
        "engine": "face-swap",
        "model": "classical",
        "input": {"target": {"data": data}, "source": {"data": data}},
    }


def test_a_request_that_attests_is_kept_with_its_key_user_and_time(app, caller, admin, swap):
    assert_problem(caller.post("/v1/jobs", json=swap), status=422, code="consent_required")
    said = caller.post("/v1/jobs", json={**swap, "consent": True, "user": "anna"})
    assert said.status_code == 202, said.text
    listed = admin.get("/v1/admin/consents?tenant=acme")
    fits(app, listed)
    [row] = listed.json["data"]
    assert row["job"] == said.json["id"]
    assert (row["basis"], row["user"], row["tenant"]) == ("request", "anna", caller.tenant_id)
    assert row["key"].startswith("key_")
    assert row["at"].startswith(said.json["created_at"].removesuffix("Z"))


def test_a_contract_is_attested_once_and_named_by_each_job(caller, admin, swap, sessions):
    path = f"/v1/admin/tenants/{caller.tenant_id}"
    assert admin.send("PATCH", path, json={"consent_mode": "contract"}).json["consent_mode"] == (
        "contract"
    )
    admin.send("PATCH", path, json={"zone": "Asia/Shanghai"})
    later = Caller(caller.client, _key(admin, caller), caller.tenant_id)
    assert later.post("/v1/jobs", json=swap).status_code == 202
    assert [each["basis"] for each in admin.get("/v1/admin/consents").json["data"]] == ["contract"]
    with sessions() as session:
        log = session.execute(text("SELECT action, subject FROM billing.audit_action")).all()
    assert [tuple(row) for row in log if row.action.startswith("consent")] == [
        ("consent.contract", caller.tenant_id)
    ]
    admin.send("PATCH", path, json={"consent_mode": "request"})
    fresh = Caller(caller.client, _key(admin, caller), caller.tenant_id)
    assert_problem(fresh.post("/v1/jobs", json=swap), status=422, code="consent_required")


def _key(admin: Caller, caller: Caller) -> str:
    """A fresh key: what is known of an old one may be a second old."""
    return admin.post(f"/v1/admin/tenants/{caller.tenant_id}/keys", json={}).json["key"]


def test_jobs_without_faces_need_and_keep_no_consent(caller, admin, file_id):
    body = {"engine": "detect", "model": "builtin", "input": {"target": {"file": file_id}}}
    assert caller.post("/v1/jobs", json={**body, "consent": True}).status_code == 202
    assert admin.get("/v1/admin/consents").json["data"] == []


def test_the_list_comes_in_pages_by_user_and_to_operators_only(caller, admin, swap):
    for user in ("anna", "ben", "anna"):
        caller.post("/v1/jobs", json={**swap, "consent": True, "user": user})
    first = admin.get("/v1/admin/consents?limit=2&user=anna")
    assert [row["user"] for row in first.json["data"]] == ["anna", "anna"]
    page = admin.get("/v1/admin/consents?limit=2").json
    rest = admin.get(f"/v1/admin/consents?limit=2&after={page['next_cursor']}").json
    assert [len(page["data"]), len(rest["data"]), rest["has_more"]] == [2, 1, False]
    assert_problem(caller.get("/v1/admin/consents"), status=403, code="admin_key_required")
    unknown = admin.get("/v1/admin/consents?tenant=nobody")
    assert_problem(unknown, status=404, code="tenant_not_found")
    wrong = admin.get("/v1/admin/consents?limit=0")
    assert_problem(wrong, status=422, code="invalid_request")


def test_a_consent_mode_that_is_none_is_refused(caller, admin):
    answer = admin.send(
        "PATCH", f"/v1/admin/tenants/{caller.tenant_id}", json={"consent_mode": "none"}
    )
    assert_problem(answer, status=422, code="invalid_request")
