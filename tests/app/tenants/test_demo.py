"""What a first start sets up, and who calls it without a key."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import AuthenticationError
from app.secret_box import SecretBox
from app.tenants.demo import anonymous_caller, bootstrap_demo
from app.tenants.models import ApiKey
from app.tenants.service import authenticate
from billing.wallets import balance

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOX = SecretBox("the secret of these tests")


def test_the_demo_is_set_up_once_and_shows_its_keys_once(session: Session) -> None:
    first = bootstrap_demo(session, box=BOX, now=NOW)
    session.commit()
    assert first.tenant_key is not None
    assert first.admin_key is not None
    again = bootstrap_demo(session, box=BOX, now=NOW)
    assert (again.tenant_id, again.tenant_key, again.admin_key) == (first.tenant_id, None, None)
    assert balance(session, first.tenant_id).available == 10_000_000_000
    who = authenticate(session, first.tenant_key, NOW)
    assert (who.tenant_id, who.consent_mode) == (first.tenant_id, "contract")
    assert authenticate(session, first.admin_key, NOW).role == "admin"
    assert session.scalar(select(func.count()).select_from(ApiKey)) == 2
    assert first.tenant_key not in repr(first)


def test_its_contract_about_persons_shown_is_attested_once_and_in_the_log(session: Session) -> None:
    for _ in range(2):
        bootstrap_demo(session, box=BOX, now=NOW)
    log = session.execute(text("SELECT action, actor FROM billing.audit_action")).all()
    assert [tuple(row) for row in log if row.action.startswith("consent")] == [
        ("consent.contract", "system")
    ]


def test_who_calls_without_a_key_is_the_demo_tenant(session: Session) -> None:
    with pytest.raises(AuthenticationError):
        anonymous_caller(session)
    demo = bootstrap_demo(session, box=BOX, now=NOW)
    who = anonymous_caller(session)
    assert (who.tenant_id, who.key_id, who.role) == (demo.tenant_id, "anonymous", "tenant")
    assert who.consent_mode == "contract"
