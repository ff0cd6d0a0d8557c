"""Publishing prices over HTTP, and what the next quote makes of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import Services
from app.catalog.shelf import CardShelf
from tests.app.api.callers import Caller, assert_problem, job_body, run_and_settle
from tests.app.api.test_openapi import fits


@pytest.fixture
def fresh_prices(kit: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the book for every quote: what was published counts at once."""
    monkeypatch.setattr(kit.catalog, "_shelf", CardShelf(ttl_s=0))


def _published(admin: Caller, card: str) -> dict[str, Any]:
    listed = admin.get("/v1/admin/rate-cards").json["data"]
    return next(each for each in listed if each["card"] == card and each["state"] == "current")


def _body(admin: Caller, card: str, **changes: Any) -> dict[str, Any]:
    body = {k: v for k, v in _published(admin, card)["body"].items() if k != "default_for"}
    return {"card": card, **body, **changes}


def _doubled(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "terms": [{**term, "tokens": "2"} for term in body["terms"]]}


def _quoted(caller: Caller, file_id: str, **fields: Any) -> Any:
    answer = caller.post("/v1/quotes", json=job_body(file_id, **fields))
    assert answer.status_code == 200, answer.text
    return answer.json


def test_the_cards_are_listed_in_words_and_as_data(
    app: APIFlask, admin: Caller, caller: Caller
) -> None:
    answer = admin.get("/v1/admin/rate-cards")
    fits(app, answer)
    found = {each["id"]: each for each in answer.json["data"]}
    assert {each["card"] for each in found.values()} == {
        *("facefusion", "facefusion-gpu", "ddcolor", "yolo", "flat")
    }
    assert found["yolo@1"]["state"] == "current"
    assert found["yolo@1"]["published_by"] == "catalogue"
    assert "rounded half up to 0.001" in found["yolo@1"]["sentence"]


@pytest.mark.usefixtures("fresh_prices")
def test_a_new_version_prices_new_jobs_and_a_job_keeps_its_own(
    app: APIFlask,
    admin: Caller,
    caller: Caller,
    file_id: str,
    sessions: sessionmaker[Session],
) -> None:
    job = caller.post("/v1/jobs", json=job_body(file_id)).json
    made = admin.post("/v1/admin/rate-cards", json=_doubled(_body(admin, "yolo")))
    fits(app, made)
    assert made.json["id"] == "yolo@2"
    after = _quoted(caller, file_id)
    assert (after["rate_card"], after["tokens"]) == ("yolo@2", 2 * job["quote"]["tokens"])
    run_and_settle(sessions, job["id"])
    settled = caller.get(f"/v1/jobs/{job['id']}").json
    assert settled["quote"]["rate_card"] == "yolo@1"
    assert settled["usage"]["tokens"] == job["quote"]["tokens"]


@pytest.mark.usefixtures("fresh_prices")
def test_a_version_with_a_date_waits_for_it(admin: Caller, caller: Caller, file_id: str) -> None:
    body = _doubled(_body(admin, "yolo"))
    start = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = admin.post("/v1/admin/rate-cards", json={**body, "effective_from": start})
    assert made.json["state"] == "scheduled"
    assert _quoted(caller, file_id)["rate_card"] == "yolo@1"


@pytest.mark.usefixtures("fresh_prices")
def test_a_model_that_a_version_leaves_out_is_refused_never_free(
    admin: Caller, caller: Caller, file_id: str
) -> None:
    body = _body(admin, "yolo")
    for term in body["terms"]:
        del term["tables"]["model"]["builtin"]
    assert admin.post("/v1/admin/rate-cards", json=body).status_code == 201
    before = caller.get("/v1/balance").json
    for path in ("/v1/quotes", "/v1/jobs"):
        refused = caller.post(path, json=job_body(file_id))
        assert_problem(refused, status=422, code="price_missing")
    assert caller.get("/v1/balance").json == before


def test_the_same_version_again_answers_the_same(admin: Caller, caller: Caller) -> None:
    body = _doubled(_body(admin, "yolo", version=2))
    answers = [admin.post("/v1/admin/rate-cards", json=body) for _ in range(2)]
    assert answers[0].json == answers[1].json
    key = {"Idempotency-Key": "prices"}
    third = _body(admin, "flat")
    answers = [admin.post("/v1/admin/rate-cards", json=third, headers=key) for _ in range(2)]
    assert answers[0].json["id"] == answers[1].json["id"] == "flat@2"


IMPOSSIBLE: list[tuple[dict[str, Any], int, str]] = [
    ({"version": 1}, 409, "rate_card_frozen"),
    ({"version": 7}, 409, "rate_card_overlap"),
    ({"effective_from": "2020-01-01T00:00:00Z"}, 422, "effective_in_past"),
    ({"effective_from": "2020-01-01T00:00:00"}, 422, "invalid_request"),
    ({"effective_from": "9999-12-31T23:59:59-12:00"}, 422, "effective_too_late"),
    ({"terms": []}, 422, "invalid_rate_card"),
    ({"terms": "none"}, 422, "invalid_request"),
    ({"card": "No Name"}, 422, "invalid_rate_card"),
    ({"rounding": {"quantum": "0", "minimum": "0"}}, 422, "invalid_rate_card"),
    ({"rounding": {"quantum": "1", "minimum": "-1"}}, 422, "negative_price"),
    ({"rounding": {"quantum": "1", "minimum": "1e99999999"}}, 422, "invalid_rate_card"),
    ({"rounding": {"quantum": 1, "minimum": 0}}, 422, "invalid_request"),
    ({"free": True}, 400, "unknown_field"),
    ({"version": 0}, 422, "invalid_request"),
    ({"batch_discounts": [{"items": 5, "percent": "100"}]}, 422, "invalid_rate_card"),
]


def test_a_card_that_cannot_be_is_refused_and_publishes_nothing(
    admin: Caller, caller: Caller
) -> None:
    before = admin.get("/v1/admin/rate-cards").json
    card = _doubled(_body(admin, "yolo"))
    for changes, status, code in IMPOSSIBLE:
        answer = admin.post("/v1/admin/rate-cards", json={**card, **changes})
        assert_problem(answer, status=status, code=code)
    assert admin.get("/v1/admin/rate-cards").json == before


def test_two_versions_may_not_overlap(admin: Caller, caller: Caller) -> None:
    body = _doubled(_body(admin, "yolo"))
    times = [(datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (2, 1)]
    first, second = (
        admin.post("/v1/admin/rate-cards", json={**body, "effective_from": at}) for at in times
    )
    assert first.status_code == 201
    assert_problem(second, status=409, code="rate_card_overlap")


def test_a_preview_compares_last_week_and_publishes_nothing(
    app: APIFlask,
    admin: Caller,
    caller: Caller,
    file_id: str,
    sessions: sessionmaker[Session],
) -> None:
    for _ in range(2):
        run_and_settle(sessions, caller.post("/v1/jobs", json=job_body(file_id)).json["id"])
    body = _doubled(_body(admin, "yolo"))
    answer = admin.post("/v1/admin/rate-cards/preview", json=body)
    fits(app, answer)
    total = answer.json["total"]
    assert (total["jobs"], total["change_percent"], total["unpriced"]) == (2, 100, 0)
    assert total["new_tokens"] == pytest.approx(2 * total["old_tokens"])
    assert [each["name"] for each in answer.json["by_model"]] == ["builtin@1"]
    assert [each["name"] for each in answer.json["by_tenant"]] == [caller.tenant_id]
    assert _published(admin, "yolo")["id"] == "yolo@1"


@pytest.mark.usefixtures("fresh_prices")
def test_a_tenant_can_be_put_on_a_card_of_its_own(
    app: APIFlask, admin: Caller, caller: Caller, stranger: Caller, file_id: str
) -> None:
    path = f"/v1/admin/tenants/{caller.tenant_id}/card"
    answer = admin.post(path, json={"card": "flat"})
    fits(app, answer)
    assert answer.json["cards"] == {"*": "flat"}
    assert _quoted(caller, file_id)["rate_card"] == "flat@1"
    others = {each["name"]: each["price"] for each in stranger.get("/v1/models").json["data"]}
    assert others["detect"]["rate_card"] == "yolo@1"
    assert admin.post(path, json={"card": None}).json["cards"] == {}
    assert _quoted(caller, file_id)["rate_card"] == "yolo@1"


def test_a_card_that_does_not_fit_is_not_assigned(admin: Caller, caller: Caller) -> None:
    path = f"/v1/admin/tenants/{caller.tenant_id}/card"
    for body, code in (
        ({"card": "nothing"}, "invalid_rate_card"),
        ({"card": "ddcolor", "engine": "detect"}, "invalid_rate_card"),
        ({"card": "flat", "engine": "translate"}, "unknown_engine"),
        ({}, "invalid_request"),
    ):
        assert_problem(admin.post(path, json=body), status=422, code=code)


def test_only_admins_see_or_set_prices(caller: Caller) -> None:
    for answer in (
        caller.get("/v1/admin/rate-cards"),
        caller.post("/v1/admin/rate-cards", json={}),
        caller.get("/v1/admin/pricing-rules"),
        caller.get("/v1/admin/overruns"),
        caller.post(f"/v1/admin/tenants/{caller.tenant_id}/card", json={"card": "flat"}),
    ):
        assert_problem(answer, status=403, code="admin_key_required")


def test_a_tenant_moves_to_another_zone_but_not_to_mars(admin: Caller, caller: Caller) -> None:
    path = f"/v1/admin/tenants/{caller.tenant_id}"
    moved = admin.send("PATCH", path, json={"zone": "America/Havana", "mode": "postpaid"})
    assert (moved.json["zone"], moved.json["mode"]) == ("America/Havana", "postpaid")
    for zone in ("Mars/Olympus", "../etc/passwd", "Asia/Shanghai\n"):
        refused = admin.send("PATCH", path, json={"zone": zone})
        assert_problem(refused, status=422, code="unknown_zone")
    nobody = admin.send("PATCH", "/v1/admin/tenants/ten_nobody", json={"zone": "UTC"})
    assert_problem(nobody, status=404, code="tenant_not_found")
