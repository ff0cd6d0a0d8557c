"""Three tenants, two operators, and what stands in the ledger."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.secret_box import SecretBox
from app.tenants.service import create_key, create_tenant
from billing.wallets import balance
from tests.app.api.callers import Caller
from tests.app.api.conftest import SECRET

BULK = "/v1/admin/recharges/bulk"
USERS = ("ann", "ben", "cem")


@pytest.fixture
def people(sessions: sessionmaker[Session]) -> dict[str, str]:
    """Three tenants; their ids by name."""
    with sessions.begin() as session:
        return {name: create_tenant(session, name=name, box=SecretBox(SECRET)).id for name in USERS}


@pytest.fixture
def alice(client: FlaskClient, sessions: sessionmaker[Session], people: dict[str, str]) -> Caller:
    with sessions.begin() as session:
        return Caller(client, create_key(session, tenant_id=None, name="alice").minted.key, "")


@pytest.fixture
def bob(client: FlaskClient, sessions: sessionmaker[Session]) -> Caller:
    with sessions.begin() as session:
        return Caller(client, create_key(session, tenant_id=None, name="bob").minted.key, "")


def body(**fields: Any) -> dict[str, Any]:
    return {"users": list(USERS), "amount": 5, "operator": "desk 3", "reason": "spring", **fields}


class Books:
    """What stands in the ledger."""

    def __init__(self, sessions: sessionmaker[Session], people: dict[str, str]) -> None:
        self.sessions, self.people = sessions, people

    def available(self) -> dict[str, int]:
        with self.sessions() as session:
            return {
                name: balance(session, tenant).available // 1_000_000
                for name, tenant in self.people.items()
            }

    def rows(self) -> dict[str, int]:
        tables = ("recharge", "recharge_row", "journal", "token_grant", "approval")
        with self.sessions() as session:
            return {
                name: session.execute(text(f"SELECT count(*) FROM billing.{name}")).scalar_one()
                for name in tables
            }


@pytest.fixture
def books(sessions: sessionmaker[Session], people: dict[str, str]) -> Books:
    return Books(sessions, people)
