"""Multipliers over HTTP: published as data, shown in quotes, kept by jobs."""

from datetime import UTC, datetime
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import Services
from app.catalog.conditions import Conditions
from app.catalog.shelf import CardShelf
from billing.reconcile import check
from tests.app.api.callers import Caller, assert_problem, job_body, run_and_settle
from tests.app.api.test_openapi import fits
from tests.billing.worked_examples import BATCHES

ALL_DAY = {"bands": [{"from": "00:00", "to": "00:00", "factor": "1.2"}]}


@pytest.fixture(autouse=True)
def fresh_prices(kit: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit.catalog, "_shelf", CardShelf(ttl_s=0))
    monkeypatch.setattr(kit.catalog, "_conditions", Conditions(ttl_s=0))


def _publish(admin: Caller, kind: str, subject: str, body: dict[str, Any]) -> Any:
    rule = {"kind": kind, "subject": subject, "body": body}
    answer = admin.post("/v1/admin/pricing-rules", json=rule)
    assert answer.status_code == 201, answer.text
    return answer


def _busy(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO worker_heartbeat (worker, capacity, engines, device)"
                " VALUES ('w', 1, '[]', 'cpu')"
            )
        )
        session.execute(
            text(
                "UPDATE job SET status = 'starting', lease_owner = 'w', lease_expires_at = now()"
                " WHERE status = 'queued'"
            )
        )


def test_all_multipliers_are_shown_in_order_kept_and_settled(
    app: APIFlask,
    admin: Caller,
    caller: Caller,
    file_id: str,
    sessions: sessionmaker[Session],
) -> None:
    caller.post("/v1/jobs", json=job_body(file_id))
    _busy(sessions)
    fits(app, _publish(admin, "time_of_day", "*", ALL_DAY))
    _publish(admin, "gpu_load", "*", {"steps": [{"above": "0.8", "factor": "1.25"}]})
    _publish(admin, "tenant_override", caller.tenant_id, {"percent": "90"})
    quoted = caller.post("/v1/quotes", json=job_body(file_id, params={"img_size": 640}))
    fits(app, quoted)
    assert [(each["name"], each["factor"]) for each in quoted.json["multipliers"]] == [
        ("time_of_day", 1.2),
        ("gpu_load", 1.25),
        ("tenant", 0.9),
    ]
    assert quoted.json["tokens"] == 0.405  # 0.3 x 1.35
    assert sum(line["tokens"] for line in quoted.json["terms"]) == pytest.approx(0.405)
    job = caller.post("/v1/jobs", json=job_body(file_id, params={"img_size": 640})).json
    # The hour ends before the job does: its price was fixed when it was accepted.
    _publish(admin, "time_of_day", "*", {"bands": []})
    _publish(admin, "tenant_override", caller.tenant_id, {"percent": "100"})
    run_and_settle(sessions, job["id"])
    settled = caller.get(f"/v1/jobs/{job['id']}").json
    assert settled["usage"]["tokens"] == settled["quote"]["tokens"] == 0.405
    assert caller.post("/v1/quotes", json=job_body(file_id)).json["multipliers"] != []
    with sessions() as session:
        assert check(session) == []
    listed = admin.get("/v1/admin/pricing-rules?kind=time_of_day")
    fits(app, listed)
    assert [each["version"] for each in listed.json["data"]] == [2, 1]


def test_a_quote_for_an_item_of_a_batch(caller: Caller, file_id: str) -> None:
    body = job_body(file_id, model="yolov8s", params={"img_size": 640})
    for items, tokens in BATCHES:
        quoted = caller.post(f"/v1/quotes?batch_items={items}", json=body).json
        assert quoted["tokens"] == tokens
        shown = [(each["name"], each["factor"]) for each in quoted["multipliers"]]
        assert shown == ([] if tokens == 1 else [("batch", tokens)])


def test_a_quote_tells_the_balance_after_it_and_whether_it_suffices(
    caller: Caller, pauper: Caller, file_id: str, photo: bytes
) -> None:
    quoted = caller.post("/v1/quotes", json=job_body(file_id)).json
    assert quoted["balance_after"] == pytest.approx(quoted["balance"] - quoted["max_tokens"])
    poor = pauper.post("/v1/quotes", json=job_body(pauper.upload(photo).json["id"])).json
    assert (poor["sufficient"], poor["balance"]) == (False, 0)
    assert poor["balance_after"] == -poor["max_tokens"]


def test_what_a_postpaid_tenant_may_owe_makes_a_quote_sufficient(
    admin: Caller, pauper: Caller, photo: bytes
) -> None:
    body = job_body(pauper.upload(photo).json["id"])
    path = f"/v1/admin/tenants/{pauper.tenant_id}"
    assert pauper.post("/v1/quotes", json=body).json["sufficient"] is False
    admin.send("PATCH", path, json={"mode": "postpaid", "debt_limit": 1})
    assert pauper.post("/v1/quotes", json=body).json["sufficient"] is True
    assert pauper.post("/v1/jobs", json=body).status_code == 202


IMPOSSIBLE: list[tuple[dict[str, Any], int, str]] = [
    ({"kind": "full_moon"}, 422, "invalid_pricing_rule"),
    ({"subject": "ten_nobody"}, 404, "tenant_not_found"),
    (
        {"body": {"bands": [{"from": "8", "to": "9", "factor": "1"}]}},
        422,
        "invalid_pricing_rule",
    ),
    ({"body": {}}, 422, "invalid_pricing_rule"),
    ({"body": []}, 422, "invalid_request"),
    ({"effective_from": "2020-01-01T00:00:00Z"}, 422, "effective_in_past"),
    ({"effective_from": "9999-12-31T23:59:59-12:00"}, 422, "effective_too_late"),
    ({"surprise": 1}, 400, "unknown_field"),
]


def test_a_rule_that_cannot_be_is_refused(admin: Caller, caller: Caller) -> None:
    for rule, status, code in IMPOSSIBLE:
        body = {"kind": "time_of_day", "subject": "*", "body": ALL_DAY, **rule}
        assert_problem(admin.post("/v1/admin/pricing-rules", json=body), status=status, code=code)
    assert admin.get("/v1/admin/pricing-rules?kind=time_of_day").json["data"] == []


def test_versions_of_a_rule_may_not_overlap(admin: Caller, caller: Caller) -> None:
    body = {"kind": "time_of_day", "subject": "*", "body": ALL_DAY}
    later = {**body, "effective_from": "2090-01-01T00:00:00Z"}
    assert admin.post("/v1/admin/pricing-rules", json=later).status_code == 201
    refused = admin.post("/v1/admin/pricing-rules", json=body)
    assert_problem(refused, status=409, code="pricing_rule_overlap")


def test_overruns_are_reported(
    app: APIFlask, admin: Caller, caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    job = caller.post("/v1/jobs", json=job_body(file_id, params={"img_size": 32})).json
    run_and_settle(sessions, job["id"])  # the meter says 640 x 640
    answer = admin.get("/v1/admin/overruns")
    fits(app, answer)
    (row,) = answer.json["data"]
    assert (row["jobs"], row["overrun_jobs"], row["rate_card"]) == (1, 1, "yolo@1")
    assert row["overrun_absorbed"] == answer.json["overrun_absorbed"] == pytest.approx(0.29)
    until = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    for odd in ("until=0001-01-01T00:00:00Z", "since=9999-12-31T23:59:59-12:00", "since=now"):
        refused = admin.get(f"/v1/admin/overruns?{odd}")
        assert_problem(refused, status=422, code="invalid_request")
    later = admin.get(f"/v1/admin/overruns?since={until}").json
    assert later["data"] == []
