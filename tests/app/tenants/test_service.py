"""Who may call, and what a new tenant starts with."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from app.errors import AuthenticationError, ConflictError, InvalidRequestError, NotFoundError
from app.secret_box import SecretBox
from app.tenants.keys import mint
from app.tenants.models import ApiKey, Tenant
from app.tenants.service import (
    authenticate,
    create_key,
    create_tenant,
    ensure_project,
    find_tenants,
    get_tenant,
    revoke_key,
    tenant_webhook_secret,
)
from billing.wallets import balance

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOX = SecretBox("the secret of these tests")


@pytest.fixture
def tenant(session: Session) -> Tenant:
    tenant = create_tenant(session, name="acme", box=BOX)
    session.commit()
    return tenant


def _code(act: Callable[[], object]) -> str:
    with pytest.raises(AuthenticationError) as refusal:
        act()
    return refusal.value.code


def test_a_new_tenant_has_an_empty_wallet_and_a_webhook_secret(
    session: Session, tenant: Tenant
) -> None:
    assert balance(session, tenant.id).available == 0
    secret = tenant_webhook_secret(session, tenant_id=tenant.id, box=BOX)
    assert secret.startswith("whsec_")
    assert secret.encode() not in tenant.webhook_secret
    assert (tenant.group, tenant.zone, tenant.mode) == ("free", "UTC", "prepaid")
    assert tenant.consent_mode == "request"


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "x" * 129}, "/name"),
        ({"zone": "Mars/Olympus"}, "/zone"),
        ({"zone": "../../etc/passwd"}, "/zone"),
        ({"zone": ""}, "/zone"),
        ({"zone": "a\x00b"}, "/zone"),
        ({"group": "gold"}, "/group"),
        ({"mode": "free"}, "/mode"),
        ({"consent_mode": "never"}, "/consent_mode"),
    ],
)
def test_a_tenant_that_cannot_be_is_refused(
    session: Session, wrong: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        create_tenant(session, **{"name": "acme", "box": BOX, **wrong})
    assert [place.pointer for place in refusal.value.errors] == [pointer]


def test_a_name_is_taken_once(session: Session, tenant: Tenant) -> None:
    with pytest.raises(ConflictError) as refusal:
        create_tenant(session, name="acme", box=BOX)
    assert refusal.value.code == "name_taken"


def test_a_key_names_its_tenant_project_and_role(session: Session, tenant: Tenant) -> None:
    made = create_key(session, tenant_id=tenant.id, project="alpha", name="ci")
    who = authenticate(session, made.minted.key, NOW)
    assert (who.tenant_id, who.role, who.key_id) == (tenant.id, "tenant", made.id)
    assert who.project == "alpha"
    assert who.project_id == ensure_project(session, tenant_id=tenant.id, name="alpha")
    assert who.consent_mode == "request"


def test_an_admin_key_belongs_to_no_tenant(session: Session) -> None:
    made = create_key(session, tenant_id=None)
    who = authenticate(session, made.minted.key, NOW)
    assert (who.tenant_id, who.project_id, who.role) == (None, None, "admin")


def test_the_key_itself_is_stored_nowhere(session: Session, tenant: Tenant) -> None:
    made = create_key(session, tenant_id=tenant.id)
    row = session.scalars(select(ApiKey).where(ApiKey.id == made.id)).one()
    secret = made.minted.key.split("_")[3]
    assert secret not in str(vars(row))


def test_a_malformed_key_needs_no_question_to_the_database(
    session: Session, engine: Engine
) -> None:
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    key = mint().key
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    assert _code(lambda: authenticate(session, wrong, NOW)) == "key_malformed"
    assert statements == []


def test_unknown_wrong_revoked_and_expired_keys_are_refused(
    session: Session, tenant: Tenant
) -> None:
    made = create_key(session, tenant_id=tenant.id, expires_at=NOW + timedelta(hours=1))
    key = made.minted.key
    authenticate(session, key, NOW)
    assert _code(lambda: authenticate(session, mint().key, NOW)) == "key_unknown"
    later = NOW + timedelta(hours=1)
    assert _code(lambda: authenticate(session, key, later)) == "key_expired"
    revoke_key(session, key_id=made.id, tenant_id=tenant.id)
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert _code(lambda: authenticate(session, key, now)) == "key_revoked"


def test_a_right_public_part_with_another_secret_is_unknown(
    session: Session, tenant: Tenant
) -> None:
    made = create_key(session, tenant_id=tenant.id)
    other = mint()
    session.execute(
        ApiKey.__table__.update().where(ApiKey.id == made.id).values(public_part=other.public_part)
    )
    assert _code(lambda: authenticate(session, other.key, NOW)) == "key_unknown"


def test_two_keys_live_side_by_side_and_one_is_revoked_alone(
    session: Session, tenant: Tenant
) -> None:
    old, new = (create_key(session, tenant_id=tenant.id) for _ in range(2))
    revoke_key(session, key_id=old.id)
    revoke_key(session, key_id=old.id)
    assert authenticate(session, new.minted.key, datetime.now(UTC)).key_id == new.id


def test_a_tenant_revokes_only_its_own_keys(session: Session, tenant: Tenant) -> None:
    stranger = create_tenant(session, name="stranger", box=BOX)
    key = create_key(session, tenant_id=stranger.id)
    for tenant_id, key_id in ((tenant.id, key.id), (None, "key_unknown")):
        with pytest.raises(NotFoundError) as refusal:
            revoke_key(session, key_id=key_id, tenant_id=tenant_id)
        assert refusal.value.code == "key_not_found"


def test_tenants_are_found_by_name_or_id(session: Session, tenant: Tenant) -> None:
    found = find_tenants(session, names_or_ids=["acme", tenant.id, "nobody"])
    assert {called: each.id for called, each in found.items()} == {
        "acme": tenant.id,
        tenant.id: tenant.id,
    }
    with pytest.raises(NotFoundError) as refusal:
        get_tenant(session, "ten_unknown")
    assert refusal.value.code == "tenant_not_found"
