"""Invoices, statements, packs and subscriptions over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from billing.settlement import settle
from tests.app.api.callers import Caller, assert_problem, job_body, run_and_settle
from tests.app.api.test_openapi import fits
from tests.billing.till import Till
from tests.billing.worked_examples import MONTHS


@pytest.fixture
def last_month(sessions: sessionmaker[Session], caller: Caller) -> None:
    """The tenant exists since two months: the last one is over."""
    with sessions.begin() as session:
        session.execute(text("UPDATE tenant SET created_at = now() - interval '32 days'"))


def _month_end(admin: Caller) -> list[dict[str, Any]]:
    answer = admin.post("/v1/admin/month-end", json={})
    assert answer.status_code == 200, answer.text
    return answer.json["issued"]


@pytest.mark.usefixtures("last_month")
def test_the_month_end_on_demand_issues_what_is_due_once(
    app: APIFlask, admin: Caller, caller: Caller, stranger: Caller
) -> None:
    issued = _month_end(admin)
    assert caller.tenant_id in {each["tenant"] for each in issued}
    assert _month_end(admin) == []
    listed = caller.get("/v1/invoices")
    fits(app, listed)
    newest = listed.json["data"][0]
    answer = caller.get(f"/v1/invoices/{newest['number']}")
    fits(app, answer)
    assert answer.json["name"] == "acme"
    assert answer.json["total"] == "0.00"
    foreign = stranger.get(f"/v1/invoices/{newest['number']}")
    assert_problem(foreign, status=404, code="invoice_not_found")


def test_a_postpaid_month_is_invoiced_by_its_tiers(
    admin: Caller, caller: Caller, client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    """Every worked example of the price list, used last month and read from the API."""
    then = datetime.now(UTC).replace(day=1) - timedelta(days=10)
    expected, keys = {}, {}
    for index, (price_list, tokens, total) in enumerate(MONTHS):
        made = admin.post("/v1/admin/tenants", json={"name": f"month {index}"}).json["id"]
        terms = {"mode": "postpaid", "debt_limit": 10_000_000}
        assert admin.send("PATCH", f"/v1/admin/tenants/{made}", json=terms).status_code == 200
        rule = {"kind": "tenant_price_list", "subject": made, "body": {"price_list": price_list}}
        assert admin.post("/v1/admin/pricing-rules", json=rule).status_code == 201
        keys[made] = admin.post(f"/v1/admin/tenants/{made}/keys", json={}).json["key"]
        expected[made] = total
        if tokens:
            with sessions.begin() as session:
                till, job = Till(session), f"job_{index}"
                till.hold(job, tokens, tenant=made, now=then)
                till.end(job, images=tokens, quoted=tokens, tenant=made)
                settle(session, job=job, now=then)
    with sessions.begin() as session:
        session.execute(text("UPDATE tenant SET created_at = :then"), {"then": then})
    _month_end(admin)
    found = {}
    for tenant_id, key in keys.items():
        listed = Caller(client, key, tenant_id).get("/v1/invoices").json["data"]
        found[tenant_id] = listed[0]["total"]
    assert found == expected


@pytest.mark.usefixtures("last_month")
def test_an_invoice_is_also_a_page_and_a_pdf(admin: Caller, caller: Caller) -> None:
    _month_end(admin)
    number = caller.get("/v1/invoices").json["data"][0]["number"]
    page = caller.get(f"/v1/invoices/{number}?format=html")
    assert page.content_type == "text/html; charset=utf-8"
    assert number in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    pdf = caller.get(f"/v1/invoices/{number}?format=pdf")
    assert pdf.content_type == "application/pdf"
    assert pdf.data.startswith(b"%PDF-")
    assert f'filename="invoice-{number}.pdf"' in pdf.headers["Content-Disposition"]
    refused = caller.get(f"/v1/invoices/{number}?format=doc")
    assert_problem(refused, status=422, code="invalid_request")


def test_a_statement_closes_with_the_balance_in_every_form(
    app: APIFlask, caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    run_and_settle(sessions, caller.post("/v1/jobs", json=job_body(file_id)).json["id"])
    path = f"/v1/statements/{datetime.now(UTC):%Y-%m}"
    answer = caller.get(path)
    fits(app, answer)
    available = caller.get("/v1/balance").json["available"]
    assert answer.json["closing_balance"] == available
    assert {each["kind"] for each in answer.json["movements"]} == {"grant", "usage"}
    rows = caller.get(f"{path}?format=csv")
    assert rows.content_type == "text/csv; charset=utf-8"
    assert rows.text.splitlines()[-1].endswith(f",{available}")
    assert caller.get(f"{path}?format=pdf").data.startswith(b"%PDF-")
    assert "Statement of tokens" in caller.get(f"{path}?format=html").text


def test_what_is_no_month_is_refused(caller: Caller) -> None:
    for month in ("2026-13", "october", "2026-1-1"):
        answer = caller.get(f"/v1/statements/{month}")
        assert_problem(answer, status=422, code="invalid_request")


def test_a_pack_is_sold_once_per_key_and_its_price_shows_on_the_grant(
    app: APIFlask, admin: Caller, caller: Caller
) -> None:
    path = f"/v1/admin/tenants/{caller.tenant_id}/packs"
    headers = {"Idempotency-Key": "order-1"}
    sold = [admin.post(path, json={"pack": "10k"}, headers=headers) for _ in range(2)]
    fits(app, sold[0])
    assert sold[0].json == sold[1].json
    assert (sold[0].json["tokens"], sold[0].json["amount"]) == (10_000, "80.00")
    balance = caller.get("/v1/balance")
    fits(app, balance)
    assert balance.json["available"] == 11_000
    assert "0.008" in {grant["token_price"] for grant in balance.json["grants"]}


def test_a_subscription_starts_at_once_and_can_be_ended(
    app: APIFlask, admin: Caller, caller: Caller
) -> None:
    path = f"/v1/admin/tenants/{caller.tenant_id}/subscriptions"
    headers = {"Idempotency-Key": "plan-1"}
    made = [admin.post(path, json={"plan": "monthly"}, headers=headers) for _ in range(2)]
    fits(app, made[0])
    assert made[0].json == made[1].json
    assert caller.get("/v1/balance").json["available"] == 2_000
    ended = admin.post(f"{path}/{made[0].json['id']}/cancel")
    fits(app, ended)
    assert ended.json["canceled_on"] is not None
    listed = admin.get(path)
    fits(app, listed)
    assert [each["id"] for each in listed.json["data"]] == [made[0].json["id"]]


def test_what_nobody_offers_is_not_sold(admin: Caller, caller: Caller) -> None:
    before = caller.get("/v1/balance").json
    for path, body in (
        ("packs", {"pack": "nothing"}),
        ("subscriptions", {"plan": "nothing"}),
        ("subscriptions/99/cancel", {}),
    ):
        answer = admin.post(f"/v1/admin/tenants/{caller.tenant_id}/{path}", json=body)
        assert_problem(answer, status=404, code="offer_not_found")
    assert caller.get("/v1/balance").json == before


def test_nobody_sells_to_a_tenant_that_is_not_there(admin: Caller, caller: Caller) -> None:
    answer = admin.post("/v1/admin/tenants/ten_nobody/packs", json={"pack": "10k"})
    assert_problem(answer, status=404, code="tenant_not_found")
    refused = caller.post("/v1/admin/month-end", json={})
    assert_problem(refused, status=403, code="admin_key_required")


def test_the_shipped_price_lists_are_data_that_an_operator_edits(
    admin: Caller, caller: Caller
) -> None:
    listed = admin.get("/v1/admin/pricing-rules?kind=price_list").json["data"]
    assert {rule["subject"] for rule in listed} == {name for name, _, _ in MONTHS}
    body = {"currency": "CNY", "bands": [{"price": "-1"}]}
    rule = {"kind": "price_list", "subject": "cheap", "body": body}
    refused = admin.post("/v1/admin/pricing-rules", json=rule)
    assert_problem(refused, status=422, code="invalid_pricing_rule")
