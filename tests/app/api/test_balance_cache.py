"""Shown balances in Redis: never older over newer, never needed, never deciding."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import EXTENSION
from app.balance_cache import BalanceCache
from app.settings import Settings
from tests.app.api.callers import Caller, assert_problem, job_body
from tests.workers.redis_server import RedisServer
from workers.services import Services
from workers.settle import drain


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def cache(redis_server: RedisServer) -> Iterator[BalanceCache]:
    cache = BalanceCache(redis_server.url, keep_s=60)
    yield cache
    cache.close()


@pytest.fixture
def cached(app: APIFlask, cache: BalanceCache) -> None:
    """The API with a cache that keeps for a minute."""
    app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], balances=cache)


def change_behind_the_cache(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE billing.wallet SET available = 1, version = version + 1"))


def available(caller: Caller) -> float:
    return caller.get("/v1/balance").json["available"]


def test_an_older_version_never_replaces_a_newer_one(
    cache: BalanceCache, sessions: sessionmaker[Session]
) -> None:
    for version in (5, 4, 6, 3):
        cache.put("t", version=version, view={"version": version})
    with sessions() as session:
        assert cache.shown(session, "t") == {"version": 6}


@pytest.mark.usefixtures("cached")
def test_a_kept_balance_is_shown_and_a_submit_renews_it(
    caller: Caller, file_id: str, sessions: sessionmaker[Session]
) -> None:
    assert available(caller) == 1000
    price = caller.post("/v1/jobs", json=job_body(file_id)).json["quote"]["tokens"]
    assert available(caller) == 1000 - price
    change_behind_the_cache(sessions)
    assert available(caller) == 1000 - price


@pytest.mark.usefixtures("cached")
def test_it_never_decides(caller: Caller, file_id: str, sessions: sessionmaker[Session]) -> None:
    assert available(caller) == 1000
    change_behind_the_cache(sessions)
    refused = caller.post(
        "/v1/jobs", json=job_body(file_id, model="builtin", params={"img_size": 4096})
    )
    assert_problem(refused, status=402, code="insufficient_tokens")


@pytest.mark.usefixtures("cached")
def test_losing_redis_loses_nothing(
    caller: Caller,
    file_id: str,
    redis_server: RedisServer,
    sessions: sessionmaker[Session],
) -> None:
    assert available(caller) == 1000
    redis_server.client().flushall()
    assert available(caller) == 1000
    redis_server.client().hset(f"pixelmeter:balance:{caller.tenant_id}", "view", "rubbish")
    assert available(caller) == 1000
    redis_server.kill()
    assert available(caller) == 1000
    change_behind_the_cache(sessions)
    assert available(caller) == 0.000001
    assert caller.get("/v1/ledger").status_code == 200


@pytest.mark.usefixtures("cached")
def test_a_settlement_renews_what_is_shown(
    caller: Caller, file_id: str, settings: Settings, redis_server: RedisServer
) -> None:
    job = caller.post("/v1/jobs", json=job_body(file_id)).json
    assert caller.get("/v1/balance").json["held"] == job["quote"]["tokens"]
    caller.post(f"/v1/jobs/{job['id']}/cancel")
    services = Services(replace(settings, redis_url=redis_server.url, balance_cache_s=60))
    assert drain(services) == 1
    services.close()
    assert caller.get("/v1/balance").json["held"] == 0


def test_without_the_setting_nothing_is_kept(redis_server: RedisServer) -> None:
    assert not BalanceCache(redis_server.url, keep_s=0).enabled
    assert not BalanceCache(None, keep_s=60).enabled
