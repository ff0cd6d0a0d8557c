"""Quotes, estimates and batches say how long the work will take and wait, and from what."""

from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.speeds.measuring import measure
from tests.app.api.callers import Caller, job_body, run_and_settle
from tests.app.api.test_openapi import fits

TOLD = {
    *("estimated_seconds", "estimated_seconds_p90", "queue_wait_seconds"),
    *("estimate_basis", "estimate_samples"),
}


def test_what_was_measured_is_told_before_the_next_run(
    app: APIFlask, caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    for _ in range(4):
        run_and_settle(sessions, caller.post("/v1/jobs", json=job_body(file_id)).json["id"])
    with sessions.begin() as session:
        assert measure(session) == 1
        session.execute(
            text(
                "INSERT INTO worker_heartbeat (worker, capacity, engines, device)"
                " VALUES ('gpu1', 2, '[\"detect\"]', 'cpu:test')"
            )
        )
    quote = caller.post("/v1/quotes", json=job_body(file_id))
    fits(app, quote)
    assert (quote.json["estimate_basis"], quote.json["estimate_samples"]) == ("measured", 4)
    assert quote.json["queue_wait_seconds"] == 0
    assert 0 < quote.json["estimated_seconds"] <= quote.json["estimated_seconds_p90"]
    assert 0 < quote.json["estimated_tokens"] <= quote.json["max_tokens"]
    many = {"defaults": job_body(file_id), "items": [{}] * 8}
    estimate = caller.post("/v1/estimates", json=many)
    batch = caller.post("/v1/batches", json=many)
    for answer in (estimate, batch):
        fits(app, answer)
        # eight items share two workers; both sides are rounded to milliseconds
        assert answer.json["estimated_seconds"] >= 4 * (quote.json["estimated_seconds"] - 0.001)
    kept = caller.get(f"/v1/batches/{batch.json['id']}").json
    assert {name: kept[name] for name in TOLD} == {name: batch.json[name] for name in TOLD}


def test_what_nobody_ran_is_told_as_a_rough_estimate(caller: Caller, file_id: str) -> None:
    quote = caller.post("/v1/quotes", json=job_body(file_id)).json
    assert (quote["estimate_basis"], quote["estimate_samples"]) == ("estimated", 0)
    assert quote["estimated_tokens"] == quote["max_tokens"]
    assert quote["queue_wait_seconds"] is None
