"""Rules about odd use over HTTP, and what they find in real lines and jobs."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.anomalies.detection import look
from app.api.services import utc_now
from tests.app.api.callers import Caller, assert_problem, job_body
from tests.app.api.test_openapi import fits

NOON = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)
SPIKE = {"kind": "spike", "factor": 3, "min_tokens": 10, "min_hours": 5}
REPEAT = {"kind": "repeat", "max_times": 2, "minutes": 10}

LINES = text(
    """
    INSERT INTO billing.usage_line (job, wallet, settled_at, api_key, end_user, engine, model,
                                    device, outcome, cached, charged, gpu_us)
    SELECT 'job ' || :end_user || n || :at, w.id, CAST(:at AS timestamptz) + n * :every, 'key_1',
           :end_user, 'detect', 'm@1', 'cpu', 'succeeded', false, :charged, 1
      FROM billing.wallet w, generate_series(1, :count) n WHERE w.tenant = :tenant
    """
)


@pytest.fixture
def use(sessions: sessionmaker[Session], caller: Caller):
    """Write lines: how many, how far apart, how many tokens each."""

    def write(at: datetime, *, count=1, every=timedelta(0), tokens=1.0, end_user="anna") -> None:
        with sessions.begin() as session:
            values = {
                "at": at.isoformat(),
                "count": count,
                "every": every,
                "charged": round(tokens * 1_000_000),
                "end_user": end_user,
                "tenant": caller.tenant_id,
            }
            session.execute(LINES, values)

    return write


def found(sessions: sessionmaker[Session], now: datetime = NOON) -> list[tuple]:
    with sessions.begin() as session:
        return sorted(
            (each.subject_kind, each.subject, each.observed, each.expected)
            for each in look(session, now=now)
        )


def add_rule(admin: Caller, **fields) -> dict:
    answer = admin.post("/v1/admin/anomaly-rules", json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json


def test_an_hour_far_above_the_own_pattern_is_found_once(
    admin: Caller, use, sessions: sessionmaker[Session]
) -> None:
    add_rule(admin, **SPIKE)
    use(NOON - timedelta(hours=20), count=10, every=timedelta(hours=1), tokens=5)
    use(NOON, tokens=15)
    assert found(sessions) == []
    use(NOON + timedelta(minutes=5), tokens=1)
    assert found(sessions) == [("end_user", "anna", 16, 5), ("key", "key_1", 16, 5)]
    assert found(sessions) == []
    assert found(sessions, NOON + timedelta(hours=1)) == []


def test_what_was_too_little_or_has_no_pattern_is_not_odd(
    admin: Caller, use, sessions: sessionmaker[Session]
) -> None:
    add_rule(admin, **SPIKE)
    use(NOON - timedelta(hours=20), count=10, every=timedelta(hours=1), tokens=0.1)
    use(NOON, tokens=9)  # below min_tokens
    use(NOON - timedelta(hours=20), count=4, every=timedelta(hours=1), end_user="new")
    use(NOON, tokens=50, end_user="new")  # fewer active hours than min_hours
    use(NOON - timedelta(days=20), count=9, every=timedelta(hours=1), end_user="old")
    use(NOON, tokens=50, end_user="old")  # a pattern older than 14 days is none
    assert [each for each in found(sessions) if each[0] == "end_user"] == []


def test_the_end_of_an_hour_is_looked_at_in_the_next_one(
    admin: Caller, use, sessions: sessionmaker[Session]
) -> None:
    add_rule(admin, **SPIKE)
    use(NOON - timedelta(hours=20), count=10, every=timedelta(hours=1), tokens=5)
    use(NOON + timedelta(minutes=29), tokens=16)
    assert len(found(sessions, NOON + timedelta(minutes=45))) == 2


def test_the_same_content_too_often_is_found_and_freezes_where_the_rule_says_so(
    admin: Caller, caller: Caller, photo: bytes, sessions: sessionmaker[Session]
) -> None:
    caller.post("/v1/webhook-endpoints", json={"url": "https://example.com/hook"})
    add_rule(admin, **REPEAT, freeze=True)
    add_rule(admin, **{**REPEAT, "max_times": 3})
    # Uploaded anew each time: the content counts, not the file.
    for _ in range(3):
        file_id = caller.upload(photo).json["id"]
        assert found(sessions, utc_now()) == []
        job = caller.post("/v1/jobs", json=job_body(file_id))
        assert job.status_code == 202
    ((kind, subject, observed, expected),) = found(sessions, utc_now())
    assert (kind, observed, expected) == ("content", 3, 2)
    assert subject == caller.get(f"/v1/files/{file_id}").json["sha256"]
    assert found(sessions, utc_now()) == []
    refused = caller.post("/v1/jobs", json=job_body(file_id))
    assert_problem(refused, status=403, code="tenant_frozen")
    with sessions() as session:
        events = [
            json.loads(body) for body in session.scalars(text("SELECT body FROM webhook_event"))
        ]
    assert sorted(event["type"] for event in events) == ["anomaly.detected", "tenant.frozen"]
    assert found(sessions, utc_now() + timedelta(minutes=11)) == []


def test_a_rule_of_one_tenant_leaves_the_others_alone(
    admin: Caller, stranger: Caller, use, sessions: sessionmaker[Session]
) -> None:
    rule = add_rule(admin, **SPIKE, tenant="stranger")
    assert rule["tenant"] == stranger.tenant_id
    use(NOON - timedelta(hours=20), count=10, every=timedelta(hours=1), tokens=5)
    use(NOON, tokens=99)
    assert found(sessions) == []


def test_rules_and_findings_are_listed_and_rules_end(
    admin: Caller, caller: Caller, use, sessions: sessionmaker[Session], app
) -> None:
    made = [add_rule(admin, **SPIKE), add_rule(admin, **REPEAT)]
    use(NOON - timedelta(hours=20), count=10, every=timedelta(hours=1), tokens=5)
    use(NOON, tokens=99)
    assert len(found(sessions)) == 2
    listed = admin.get("/v1/admin/anomaly-rules")
    fits(app, listed)
    assert listed.json["data"] == made
    page = admin.get("/v1/admin/anomalies?limit=1&tenant=acme")
    fits(app, page)
    assert page.json["has_more"]
    rest = admin.get(f"/v1/admin/anomalies?after={page.json['next_cursor']}").json["data"]
    assert {each["subject_kind"] for each in (*page.json["data"], *rest)} == {"key", "end_user"}
    path = f"/v1/admin/anomaly-rules/{made[0]['id']}"
    assert admin.send("DELETE", path).status_code == 204
    assert_problem(admin.send("DELETE", path), status=404, code="anomaly_rule_not_found")
    assert admin.get("/v1/admin/anomaly-rules").json["data"] == made[1:]
    refused = caller.get("/v1/admin/anomalies")
    assert_problem(refused, status=403, code="admin_key_required")
    actions = [row["action"] for row in admin.get("/v1/admin/audit?kind=action").json["data"]]
    assert actions == ["anomaly_rule.end", "anomaly_rule.create", "anomaly_rule.create"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({**SPIKE, "factor": 1}, 422, "invalid_anomaly_rule"),
        ({**SPIKE, "min_hours": 400}, 422, "invalid_anomaly_rule"),
        ({**SPIKE, "min_tokens": 0}, 422, "invalid_anomaly_rule"),
        ({**SPIKE, "min_tokens": -1}, 422, "invalid_amount"),
        ({**SPIKE, "minutes": 5}, 422, "invalid_anomaly_rule"),
        ({"kind": "repeat", "minutes": 5}, 422, "invalid_anomaly_rule"),
        ({**REPEAT, "minutes": 2000}, 422, "invalid_anomaly_rule"),
        ({"kind": "colour"}, 422, "invalid_request"),
        ({**SPIKE, "tenant": "nobody"}, 404, "tenant_not_found"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    admin: Caller, fields: dict, status: int, code: str
) -> None:
    refused = admin.post("/v1/admin/anomaly-rules", json=fields)
    assert_problem(refused, status=status, code=code)
    assert admin.get("/v1/admin/anomaly-rules").json["data"] == []
