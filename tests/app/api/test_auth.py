import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session, sessionmaker

from app.api.auth import PrincipalCache
from app.api.database import engine_of
from app.api.services import Services
from app.errors import AuthenticationError
from app.tenants.service import Principal, create_key
from tests.app.api.callers import Caller, assert_problem

SOMEBODY = Principal(tenant_id="ten_1", project_id=None, key_id="key_1", role="tenant")


@contextmanager
def counted_statements(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_a_call_without_a_key_is_told_where_to_put_it(client: FlaskClient) -> None:
    answer = client.get("/v1/balance")
    assert_problem(answer, status=401, code="unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["pm_live_x", "Basic dXNlcjpwYXNz", "Bearer", "Bearer "])
def test_another_scheme_is_refused(client: FlaskClient, header: str) -> None:
    answer = client.get("/v1/balance", headers={"Authorization": header})
    assert_problem(answer, status=401, code="authorization_malformed")


def test_one_wrong_character_is_refused_without_a_query(app, caller: Caller, kit: Services) -> None:
    key = caller.key
    flipped = key[:-8] + ("a" if key[-8] != "a" else "b") + key[-7:]
    with counted_statements(engine_of(app, kit.database)) as seen:
        headers = {"Authorization": f"Bearer {flipped}"}
        answer = caller.client.get("/v1/balance", headers=headers)
    assert_problem(answer, status=401, code="key_malformed")
    assert seen == []


def test_an_unknown_key_is_refused(client: FlaskClient) -> None:
    from app.tenants.keys import mint

    headers = {"Authorization": f"Bearer {mint().key}"}
    assert_problem(client.get("/v1/balance", headers=headers), status=401, code="key_unknown")


def test_a_known_key_works(caller: Caller) -> None:
    assert caller.get("/v1/balance").status_code == 200


def test_a_key_is_looked_up_once_per_second() -> None:
    asked: list[str] = []
    now = [100.0]

    def look_up(key: str) -> Principal:
        asked.append(key)
        return SOMEBODY

    cache = PrincipalCache(look_up, clock=lambda: now[0])
    assert cache.principal("k") is SOMEBODY
    now[0] += 0.99
    cache.principal("k")
    assert asked == ["k"]
    now[0] += 0.02
    cache.principal("k")
    assert asked == ["k", "k"]


def test_a_refused_key_is_not_remembered() -> None:
    def look_up(_key: str) -> Principal:
        raise AuthenticationError("no")

    cache = PrincipalCache(look_up)
    with pytest.raises(AuthenticationError):
        cache.principal("k")
    assert cache._known == {}


def test_a_revoked_key_is_refused_within_a_second(
    caller: Caller, kit: Services, sessions: sessionmaker[Session]
) -> None:
    now = [0.0]
    kit.principals.clock = lambda: now[0]
    assert caller.get("/v1/balance").status_code == 200
    with sessions.begin() as session:
        session.execute(text("UPDATE api_key SET revoked_at = now()"))
    now[0] = 1.0
    assert_problem(caller.get("/v1/balance"), status=401, code="key_revoked")


def test_an_expired_key_is_refused(
    caller: Caller, client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        key = create_key(session, tenant_id=caller.tenant_id, expires_at=past).minted.key
    headers = {"Authorization": f"Bearer {key}"}
    assert_problem(client.get("/v1/balance", headers=headers), status=401, code="key_expired")


def test_an_admin_key_has_no_balance(admin: Caller) -> None:
    assert_problem(admin.get("/v1/balance"), status=403, code="tenant_key_required")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/admin/tenants"),
        ("POST", "/v1/admin/tenants/ten_1/keys"),
        ("GET", "/v1/admin/queues"),
    ],
)
def test_a_tenants_key_is_no_admin(caller: Caller, method: str, path: str) -> None:
    kwargs = {"json": {}} if method == "POST" else {}
    answer = caller.send(method, path, **kwargs)
    assert_problem(answer, status=403, code="admin_key_required")


def test_every_address_but_the_public_ones_wants_a_key(app, client: FlaskClient) -> None:
    public = {"/livez", "/readyz", "/openapi.json", "/docs"}
    of_a_page = {"/v1/jobs/job_id/compare": 403, "/assets/name": 404}  # signed link, known files
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(int:)?(\w+)>", lambda each: "1" if each[1] else each[2], rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            answer = client.open(path, method=method)
            expected = 200 if path in public else of_a_page.get(path, 401)
            assert answer.status_code == expected, (method, path, answer.text)
