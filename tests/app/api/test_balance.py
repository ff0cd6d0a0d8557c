from sqlalchemy.orm import Session, sessionmaker

from tests.app.api.callers import Caller, job_body, run_and_settle


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


def test_strangers_have_their_own_money(caller: Caller, stranger: Caller, file_id: str) -> None:
    caller.post("/v1/jobs", json=job_body(file_id))
    assert stranger.get("/v1/balance").json["available"] == 1000
    assert len(stranger.get("/v1/ledger").json["data"]) == 1


def test_models_tell_parameters_and_prices(caller: Caller) -> None:
    engines = {engine["name"]: engine for engine in caller.get("/v1/models").json["data"]}
    assert set(engines) == {"face-swap", "colorize", "detect"}
    assert engines["detect"]["models"]
