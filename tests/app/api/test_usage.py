"""Usage reports: the ledger's own sums, cut by local time and by whatever a job says."""

import base64
import csv
import io
import json
from datetime import UTC, datetime

import pytest
from pyarrow import parquet
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from billing.wallets import open_wallet
from tests.app.api.callers import Caller, assert_problem, job_body, run_and_settle
from tests.app.api.test_openapi import fits

LINE = text(
    """
    INSERT INTO billing.usage_line (job, wallet, settled_at, project, api_key, end_user, engine,
                                    model, device, outcome, cached, charged, gpu_us)
    SELECT :job, w.id, :at, :project, 'key_1', :user, :engine, 'm@1', 'cpu', :outcome, :cached,
           :charged, 1500 FROM billing.wallet w WHERE w.tenant = :tenant
    """
)


@pytest.fixture
def use(sessions: sessionmaker[Session], caller: Caller):
    """Write a settled line at a time of the test's choosing."""

    def write(at: str, tokens: float = 1, **facts) -> None:
        with sessions.begin() as session:
            values = {
                "job": f"job_{write.count}",
                "at": datetime.fromisoformat(at),
                "project": None,
                "user": None,
                "engine": "detect",
                "outcome": "succeeded",
                "cached": False,
                "charged": round(tokens * 1_000_000),
                "tenant": caller.tenant_id,
            }
            session.execute(LINE, {**values, **facts})
        write.count += 1

    write.count = 0
    return write


def move_to(sessions: sessionmaker[Session], caller: Caller, zone: str) -> None:
    with sessions.begin() as session:
        values = {"zone": zone, "id": caller.tenant_id}
        session.execute(text("UPDATE tenant SET zone = :zone WHERE id = :id"), values)


def report(caller: Caller, **query) -> list[dict]:
    answer = caller.get("/v1/usage", query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def test_the_tokens_of_a_report_are_the_captures_of_the_ledger(
    caller: Caller, file_id: str, sessions: sessionmaker[Session], app
) -> None:
    for number in range(3):
        job = caller.post("/v1/jobs", json=job_body(file_id, user=f"u{number % 2}")).json["id"]
        run_and_settle(sessions, job)
    canceled = caller.post("/v1/jobs", json=job_body(file_id)).json["id"]
    caller.post(f"/v1/jobs/{canceled}/cancel")
    caller.post("/v1/jobs", json=job_body(file_id))
    (row,) = report(caller, bucket="all")
    with sessions() as session:
        captured = session.scalar(
            text(
                "SELECT sum(t.amount) FROM billing.transfer t JOIN billing.journal j"
                " ON j.id = t.journal WHERE t.debit = 'held' AND t.credit = 'revenue'"
            )
        )
    assert round(row["tokens"] * 1_000_000) == captured > 0
    entries = caller.get("/v1/ledger?limit=100").json["data"]
    spent = sum(entry["tokens"] + entry["held"] for entry in entries if entry["kind"] != "grant")
    assert row["tokens"] == pytest.approx(-spent)
    assert (row["jobs"], row["average_tokens"]) == (3, pytest.approx(row["tokens"] / 3))
    by_user = report(caller, bucket="all", group_by="end_user,engine")
    assert [(each["end_user"], each["jobs"]) for each in by_user] == [("u0", 2), ("u1", 1)]
    fits(app, caller.get("/v1/usage?group_by=project,model&bucket=1m"))


def test_days_are_local_dates_also_where_midnight_comes_twice(
    caller: Caller, use, sessions: sessionmaker[Session]
) -> None:
    move_to(sessions, caller, "America/Havana")
    for at in (
        "2026-11-01T03:59:59+00:00",  # 31 October, 23:59 summer time
        "2026-11-01T04:30:00+00:00",  # 00:30 summer time
        "2026-11-01T05:30:00+00:00",  # 00:30 once more
        "2026-11-02T04:59:59+00:00",  # 23:59
        "2026-11-02T05:00:00+00:00",
    ):
        use(at)
    days = report(caller, since="2026-10-01T00:00:00Z", until="2026-12-01T00:00:00Z")
    assert [(day["start"], day["jobs"]) for day in days] == [
        ("2026-10-31T04:00:00Z", 1),
        ("2026-11-01T04:00:00Z", 3),
        ("2026-11-02T05:00:00Z", 1),
    ]
    hours = report(caller, bucket="1h", since="2026-11-01T04:00:00Z", until="2026-11-01T06:00:00Z")
    assert [(hour["start"], hour["jobs"]) for hour in hours] == [
        ("2026-11-01T04:00:00Z", 1),
        ("2026-11-01T05:00:00Z", 1),
    ]


def test_a_range_includes_its_start_and_not_its_end(caller: Caller, use) -> None:
    for at in ("2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00"):
        use(at)
    rows = report(caller, bucket="1m", since="2026-01-01T00:00:00Z", until="2026-01-01T00:01:00Z")
    assert [row["start"] for row in rows] == ["2026-01-01T00:00:00Z"]


JANUARY = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}


def test_measures_and_filters(caller: Caller, use) -> None:
    use("2026-01-05T10:00:00+00:00", 2, user="a")
    use("2026-01-05T11:00:00+00:00", 0, user="a", outcome="failed")
    use("2026-01-05T12:00:00+00:00", 0, user="b", cached=True)
    use("2026-01-05T13:00:00+00:00", 0.5, user="b", engine="colorize")
    (all_of_it,) = report(caller, **JANUARY)
    assert all_of_it == {
        "start": "2026-01-05T00:00:00Z",
        "jobs": 4,
        "tokens": 2.5,
        "average_tokens": 0.625,
        "gpu_ms": 6.0,
        "failures": 1,
        "cache_hits": 1,
    }
    (mine,) = report(caller, end_user="b", engine="colorize", **JANUARY)
    assert (mine["jobs"], mine["tokens"]) == (1, 0.5)
    assert report(caller, project="nobody's", **JANUARY) == []


def test_pages_follow_each_other_whatever_they_are_grouped_by(caller: Caller, use) -> None:
    for day in range(1, 6):
        for user in ("a", None, "ä'; --", "=b"):
            use(f"2026-01-0{day}T10:00:00+00:00", user=user)
    whole = report(caller, group_by="end_user,engine", limit=1000, **JANUARY)
    assert len(whole) == 20
    for bucket in ("1d", "1h", "1m", "all"):
        query = {"group_by": "end_user", "bucket": bucket, "limit": 3, **JANUARY}
        rows, after = [], None
        while True:
            page = caller.get("/v1/usage", query_string=query | ({"after": after} if after else {}))
            rows += page.json["data"]
            after = page.json["next_cursor"]
            if not page.json["has_more"]:
                break
        assert rows == report(caller, **{**query, "limit": 1000})
        assert sum(row["jobs"] for row in rows) == 20


def test_a_stranger_sees_nothing_of_it(caller: Caller, stranger: Caller, use) -> None:
    use("2026-01-05T10:00:00+00:00")
    assert report(stranger, **JANUARY) == []


def test_a_csv_has_every_row_and_no_formula(caller: Caller, use) -> None:
    for user in ("=cmd|'/C calc'!A0", "@x", "-1", "plain", None):
        use("2026-01-05T10:00:00+00:00", 0.000001, user=user)
    for extra in ({"query_string": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}):
        query = {"group_by": "end_user", **JANUARY, **extra.pop("query_string", {})}
        answer = caller.get("/v1/usage", query_string=query, **extra)
        assert answer.content_type.startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert {row["end_user"] for row in rows} == {
            *("", "'-1", "'=cmd|'/C calc'!A0", "'@x", "plain"),
        }
        assert {row["tokens"] for row in rows} == {"0.000001"}
        assert rows[0]["start"] == "2026-01-05T00:00:00Z"


def test_a_parquet_file_has_types(caller: Caller, use) -> None:
    use("2026-01-05T10:00:00+00:00", 12.345678, user="a")
    answer = caller.get(
        "/v1/usage", query_string={"format": "parquet", "group_by": "end_user", **JANUARY}
    )
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage.parquet"'
    table = parquet.read_table(io.BytesIO(answer.data))
    assert str(table.schema.field("tokens").type) == "decimal128(22, 6)"
    (row,) = table.to_pylist()
    assert row["start"] == datetime(2026, 1, 5, tzinfo=UTC)
    assert (str(row["tokens"]), row["end_user"], row["jobs"]) == ("12.345678", "a", 1)
    empty = caller.get(
        "/v1/usage", query_string={"format": "parquet", "project": "none", **JANUARY}
    )
    assert parquet.read_table(io.BytesIO(empty.data)).num_rows == 0


def cursor(*place: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def test_pages_of_the_whole_period_go_on_although_time_does(caller: Caller, use) -> None:
    now = datetime.now(UTC).isoformat()
    for user in "abc":
        use(now, user=user)
    first = caller.get("/v1/usage?bucket=all&group_by=end_user&limit=2").json
    rest = caller.get(
        "/v1/usage",
        query_string={"bucket": "all", "group_by": "end_user", "after": first["next_cursor"]},
    ).json
    assert [row["end_user"] for row in (*first["data"], *rest["data"])] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"bucket": "1w"}, "invalid_bucket"),
        ({"group_by": "colour"}, "invalid_grouping"),
        ({"group_by": "tenant"}, "invalid_grouping"),
        ({"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "invalid_time_range"),
        ({"since": "0001-01-01T00:00:00Z"}, "invalid_time_range"),
        ({"since": "2026-02-01T00:00:00"}, "invalid_request"),
        ({"format": "xml"}, "invalid_format"),
        ({"after": "nonsense"}, "invalid_cursor"),
        ({"after": cursor("x")}, "invalid_cursor"),
        ({"after": cursor("2026-01-01T00:00:00+00:00")}, "invalid_cursor"),
        ({"after": cursor("2026-01-01"), "bucket": "1h"}, "invalid_cursor"),
        ({"after": cursor("2026-01-01", "a")}, "invalid_cursor"),
        ({"after": cursor("2026-01-01", "\0"), "group_by": "engine"}, "invalid_cursor"),
        ({"after": base64.b64encode(b"7").decode()}, "invalid_cursor"),
        ({"limit": 1001}, "invalid_request"),
    ],
)
def test_a_question_that_makes_no_sense_has_a_code_of_its_own(
    caller: Caller, query: dict, code: str
) -> None:
    assert_problem(caller.get("/v1/usage", query_string=query), status=422, code=code)


def test_operators_see_all_tenants_by_name(
    caller: Caller, stranger: Caller, admin: Caller, use, app
) -> None:
    use("2026-01-05T10:00:00+00:00", 2)
    use("2026-01-05T10:00:00+00:00", 3, tenant=stranger.tenant_id)
    query = {"group_by": "tenant", **JANUARY}
    answer = admin.get("/v1/admin/usage", query_string=query)
    fits(app, answer)
    assert [(row["tenant"], row["tokens"]) for row in answer.json["data"]] == sorted(
        [("acme", 2), ("stranger", 3)], key=lambda row: row[1]
    )
    one = admin.get("/v1/admin/usage", query_string={"tenant": "stranger", **JANUARY}).json["data"]
    assert [row["tokens"] for row in one] == [3]
    refused = admin.get("/v1/admin/usage", query_string={"zone": "Mars/Crater"})
    assert_problem(refused, status=422, code="unknown_zone")
    refused = admin.get("/v1/admin/usage", query_string={"tenant": "nobody"})
    assert_problem(refused, status=404, code="tenant_not_found")
    assert_problem(caller.get("/v1/admin/usage"), status=403, code="admin_key_required")


def test_a_month_of_one_wallet_is_read_through_its_index(
    caller: Caller, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        for number in range(20):
            open_wallet(session, f"other{number}")
        session.execute(
            text(
                "INSERT INTO billing.usage_line (job, wallet, settled_at, engine, model, device,"
                " outcome, cached, charged, gpu_us)"
                " SELECT 'job' || n, 1 + n % 20, timestamptz '2026-01-01Z' + n * interval '1 min',"
                " 'detect', 'm@1', 'cpu', 'succeeded', false, 1, 1 FROM generate_series(1, 40000) n"
            )
        )
        session.execute(text("ANALYZE billing.usage_line"))
        plan = session.scalar(
            text(
                "EXPLAIN (FORMAT json) SELECT sum(charged) FROM billing.usage_line l"
                " WHERE l.settled_at >= '2026-01-05Z' AND l.settled_at < '2026-01-06Z'"
                " AND l.wallet = (SELECT id FROM billing.wallet WHERE tenant = 'other3')"
            )
        )
    assert "ix_usage_line_wallet" in json.dumps(plan)
