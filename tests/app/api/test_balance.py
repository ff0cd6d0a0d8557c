import csv
import io

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.app.api.callers import Caller, assert_problem, job_body, run_and_settle


def test_a_settled_job_moves_tokens_from_held_to_spent(
    caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    job = caller.post("/v1/jobs", json=job_body(file_id)).json
    price = job["quote"]["tokens"]
    run_and_settle(sessions, job["id"])
    balance = caller.get("/v1/balance").json
    assert (balance["available"], balance["held"], balance["debt"]) == (1000 - price, 0, 0)
    assert [grant["remaining"] for grant in balance["grants"]] == [1000 - price]


def test_the_statement_tells_every_movement_newest_first(
    caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    job = caller.post("/v1/jobs", json=job_body(file_id)).json
    price = job["quote"]["tokens"]
    run_and_settle(sessions, job["id"])
    lines = caller.get("/v1/ledger").json["data"]
    assert [line["kind"] for line in lines] == ["settle", "hold", "grant"]
    settled, held, granted = lines
    assert (held["tokens"], held["held"], held["job"]) == (-price, price, job["id"])
    assert (settled["held"], settled["job"]) == (-price, job["id"])
    assert (granted["tokens"], granted["balance_after"]) == (1000, 1000)
    assert sum(line["tokens"] for line in lines) == caller.get("/v1/balance").json["available"]


def test_the_statement_comes_in_pages(caller: Caller, file_id: str) -> None:
    for _ in range(2):
        caller.post("/v1/jobs", json=job_body(file_id))
    first = caller.get("/v1/ledger?limit=2").json
    assert ([line["kind"] for line in first["data"]], first["has_more"]) == (["hold"] * 2, True)
    rest = caller.get(f"/v1/ledger?limit=2&after={first['next_cursor']}").json
    assert ([line["kind"] for line in rest["data"]], rest["has_more"]) == (["grant"], False)


def test_the_statement_filters_by_kind_and_time(caller: Caller, file_id: str) -> None:
    caller.post("/v1/jobs", json=job_body(file_id))
    hold, grant = caller.get("/v1/ledger").json["data"]

    def kinds(**query: str) -> list[str]:
        answer = caller.get("/v1/ledger", query_string=query)
        return [line["kind"] for line in answer.json["data"]]

    assert kinds(kind="grant") == ["grant"]
    assert kinds(kind="refund") == []
    assert kinds(since=hold["created_at"]) == ["hold"]
    assert kinds(until=hold["created_at"]) == ["grant"]
    assert kinds(since=grant["created_at"], kind="hold") == ["hold"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", "invalid_time_range"),
        ("format=parquet", "invalid_format"),
        ("kind=colour", "invalid_request"),
    ],
)
def test_a_statement_that_cannot_be_is_refused(caller: Caller, query: str, code: str) -> None:
    assert_problem(caller.get(f"/v1/ledger?{query}"), status=422, code=code)


def test_the_whole_statement_comes_as_csv(
    caller: Caller, file_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        caller.post("/v1/jobs", json=job_body(file_id))
    monkeypatch.setattr("app.api.balance.CSV_PAGE_ROWS", 2)
    answer = caller.get("/v1/ledger", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["kind"] for row in rows] == ["hold", "hold", "hold", "grant"]
    lines = caller.get("/v1/ledger").json["data"]
    assert [float(row["tokens"]) for row in rows] == [line["tokens"] for line in lines]
    assert rows[0]["created_at"] == lines[0]["created_at"]


def test_strangers_have_their_own_money(caller: Caller, stranger: Caller, file_id: str) -> None:
    caller.post("/v1/jobs", json=job_body(file_id))
    assert stranger.get("/v1/balance").json["available"] == 1000
    assert len(stranger.get("/v1/ledger").json["data"]) == 1


def test_models_tell_parameters_and_prices(caller: Caller) -> None:
    engines = {engine["name"]: engine for engine in caller.get("/v1/models").json["data"]}
    assert set(engines) == {"face-swap", "colorize", "detect"}
    assert engines["detect"]["models"]
