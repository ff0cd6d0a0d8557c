"""Refunds, revocations, payments and corrections over the API; nothing half done."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.tenants.service import create_key
from tests.app.api.callers import Caller, assert_problem, job_body, run_and_settle


@pytest.fixture
def second(client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    with sessions.begin() as session:
        key = create_key(session, tenant_id=None, name="second").minted.key
    return Caller(client, key, "")


@pytest.fixture
def charged(caller: Caller, file_id: str, sessions: sessionmaker[Session]) -> str:
    """A job that was charged."""
    job = caller.post("/v1/jobs", json=job_body(file_id)).json["id"]
    run_and_settle(sessions, job)
    return job


def balance(caller: Caller) -> float:
    return caller.get("/v1/balance").json["available"]


def test_a_charge_is_refunded_once_per_key_and_never_beyond_it(
    admin: Caller, caller: Caller, charged: str
) -> None:
    price = round(1000 - balance(caller), 6)
    path, body = (
        f"/v1/admin/jobs/{charged}/refund",
        {"tokens": round(price / 2, 6), "reason": "grey"},
    )
    answers = [admin.post(path, json=body, headers={"Idempotency-Key": "r"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json == answers[1].json
    assert balance(caller) == pytest.approx(1000 - price / 2)
    over = admin.post(path, json={"tokens": price, "reason": "more"})
    assert_problem(over, status=409, code="refund_exceeds_charge")
    rest = admin.post(path, json={"reason": "all of it"})
    assert rest.json["refunded"] == pytest.approx(price)
    assert balance(caller) == 1000
    log = admin.get("/v1/admin/audit?kind=action").json["data"]
    assert [row["action"] for row in log].count("charge.refund") == 2


@pytest.mark.parametrize(
    ("tokens", "code"),
    [
        (-1, "invalid_amount"),
        (0, "invalid_amount"),
        (0.0000001, "invalid_amount"),
        (2**62, "invalid_amount"),
        ("1", "invalid_request"),
    ],
)
def test_an_amount_that_cannot_be_changes_nothing(
    admin: Caller, caller: Caller, charged: str, tokens: object, code: str
) -> None:
    before = balance(caller)
    tenant, grant = caller.tenant_id, caller.get("/v1/balance").json["grants"][0]["id"]
    for path, body in (
        (f"/v1/admin/jobs/{charged}/refund", {"reason": "x"}),
        (f"/v1/admin/grants/{grant}/revoke", {"reason": "x"}),
        (f"/v1/admin/tenants/{tenant}/payments", {"reference": "x"}),
    ):
        answer = admin.post(path, json={**body, "tokens": tokens})
        assert_problem(answer, status=422, code=code)
    assert balance(caller) == before


def test_what_is_not_there_is_said_so(admin: Caller, caller: Caller) -> None:
    reason = {"reason": "x"}
    for path, body, status, code in (
        ("/v1/admin/jobs/job_nothing/refund", reason, 404, "charge_not_found"),
        ("/v1/admin/grants/99999/revoke", reason, 404, "grant_not_found"),
        ("/v1/admin/grants/x/revoke", reason, 404, "grant_not_found"),
        ("/v1/admin/tenants/ten_x/payments", {"tokens": 1, "reference": "x"}, 404,
         "tenant_not_found"),
        (f"/v1/admin/tenants/{caller.tenant_id}/payments", {"tokens": 1, "reference": "x"}, 409,
         "payment_above_debt"),
    ):  # fmt: skip
        assert_problem(admin.post(path, json=body), status=status, code=code)


def test_a_grant_is_revoked_and_the_revocation_corrected_by_two_people(
    admin: Caller, second: Caller, caller: Caller, sessions: sessionmaker[Session]
) -> None:
    grant = caller.get("/v1/balance").json["grants"][0]["id"]
    taken = admin.post(f"/v1/admin/grants/{grant}/revoke", json={"tokens": 400, "reason": "x"})
    assert (taken.status_code, balance(caller)) == (201, 600)
    wish = {"kind": "ledger.reverse", "subject": taken.json["entry"], "reason": "a mistake"}
    asked = admin.post("/v1/admin/corrections", json=wish)
    assert (asked.status_code, balance(caller)) == (202, 600)
    path = f"/v1/admin/approvals/{asked.json['id']}/approve"
    assert_problem(admin.post(path), status=403, code="self_approval")
    done = second.post(path)
    assert (done.json["status"], balance(caller)) == ("approved", 1000)
    assert_problem(second.post(path), status=409, code="approval_decided")
    again = admin.post("/v1/admin/corrections", json=wish).json["id"]
    refused = second.post(f"/v1/admin/approvals/{again}/approve")
    assert_problem(refused, status=409, code="already_reversed")
    with sessions() as session:
        kept = session.execute(
            text("SELECT approval FROM billing.journal WHERE kind = 'correction'")
        ).scalar_one()
    assert kept == asked.json["id"]


def test_a_breach_is_a_row_freezes_the_tenant_and_is_repaired_by_approval(
    admin: Caller, second: Caller, caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    assert admin.post("/v1/admin/reconciliation").json["findings"] == []
    with sessions.begin() as session:
        session.execute(text("UPDATE billing.wallet SET available = available + 1"))
    run = admin.post("/v1/admin/reconciliation").json
    assert [(row["code"], row["tenant"]) for row in run["findings"]] == [
        ("wallet_differs", caller.tenant_id)
    ]
    assert admin.get(f"/v1/admin/reconciliation/{run['id']}").json == run
    assert [row["found"] for row in admin.get("/v1/admin/reconciliation").json["data"]] == [1, 0]
    assert_problem(
        caller.post("/v1/jobs", json=job_body(file_id)), status=403, code="tenant_frozen"
    )
    wish = {"kind": "ledger.rebuild", "subject": caller.tenant_id, "reason": f"finding {run['id']}"}
    asked = admin.post("/v1/admin/corrections", json=wish).json["id"]
    assert second.post(f"/v1/admin/approvals/{asked}/approve").status_code == 200
    assert admin.post("/v1/admin/reconciliation").json["findings"] == []
    assert admin.post(f"/v1/admin/tenants/{caller.tenant_id}/unfreeze").status_code == 200
    assert caller.post("/v1/jobs", json=job_body(file_id)).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "ledger.reverse", "subject": "one", "reason": "x"},
        {"kind": "ledger.burn", "subject": "1", "reason": "x"},
        {"kind": "ledger.void", "subject": "", "reason": "x"},
        {"kind": "ledger.void", "subject": "1", "reason": ""},
    ],
)
def test_a_correction_that_cannot_be_is_refused(admin: Caller, body: dict) -> None:
    answer = admin.post("/v1/admin/corrections", json=body)
    assert_problem(answer, status=422, code="invalid_request")


def test_the_addresses_are_for_admins(caller: Caller) -> None:
    for path in ("/v1/admin/reconciliation", "/v1/admin/corrections", "/v1/admin/jobs/j/refund"):
        answer = caller.post(path, json={"reason": "x"})
        assert_problem(answer, status=403, code="admin_key_required")
    unknown = caller.get("/v1/admin/reconciliation/1")
    assert_problem(unknown, status=403, code="admin_key_required")


def test_an_unknown_reconciliation_is_not_found(admin: Caller) -> None:
    assert_problem(admin.get("/v1/admin/reconciliation/9"), status=404, code="not_found")
