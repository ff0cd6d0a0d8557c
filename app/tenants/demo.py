"""The tenant that a first start makes, so that there is something to try everything with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.errors import AuthenticationError
from app.secret_box import SecretBox
from app.tenants.changes import attest
from app.tenants.models import Tenant
from app.tenants.service import Principal, create_key, create_tenant
from billing.amounts import from_number
from billing.audit import record
from billing.grants import issue

DEMO_TENANT: Final = "demo"
ANONYMOUS_KEY: Final = "anonymous"  # stands for a key in jobs that came without one
DEMO_TOKENS: Final = 10_000
FIRST_OPERATOR: Final = "first admin"


@dataclass(frozen=True, slots=True)
class DemoAccess:
    """The demo tenant; the keys are None when an earlier start created them."""

    tenant_id: str
    tenant_key: str | None
    admin_key: str | None

    def __repr__(self) -> str:
        """Keep the keys out of logs and tracebacks."""
        return f"DemoAccess(tenant_id={self.tenant_id!r})"


def bootstrap_demo(session: Session, *, box: SecretBox, now: datetime) -> DemoAccess:
    """Create the demo tenant with its tokens, its key and an admin key; do nothing the next time.

    Its consent is attested once by contract, so that face jobs of existing clients run unchanged.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('pixelmeter demo tenant'))"))
    known = session.scalar(select(Tenant.id).where(Tenant.name == DEMO_TENANT))
    if known is not None:
        return DemoAccess(tenant_id=known, tenant_key=None, admin_key=None)
    # Not free: what the demo has is what it was given and what it spent, nothing comes at night.
    tenant = create_tenant(
        session, name=DEMO_TENANT, box=box, group="enterprise", consent_mode="contract"
    )
    issue(
        session,
        tenant=tenant.id,
        amount=from_number(DEMO_TOKENS),
        kind="purchase",
        idem_key="demo:first-start",
        actor="system",
        now=now,
    )
    tenant_key = create_key(session, tenant_id=tenant.id, name="demo")
    admin_key = create_key(session, tenant_id=None, name=FIRST_OPERATOR)
    detail = {"name": DEMO_TENANT, "tokens": DEMO_TOKENS, "keys": [tenant_key.id, admin_key.id]}
    record(
        session, actor="system", action="tenant.create", subject=tenant.id, detail=detail, now=now
    )
    attest(session, tenant.id, consent_mode="contract", actor="system", now=now)
    return DemoAccess(
        tenant_id=tenant.id,
        tenant_key=tenant_key.minted.key,
        admin_key=admin_key.minted.key,
    )


def anonymous_caller(session: Session) -> Principal:
    """Who calls a development server without a key: the demo tenant.

    Raises:
        AuthenticationError: there is no demo tenant here.
    """
    tenant = session.scalar(select(Tenant).where(Tenant.name == DEMO_TENANT))
    if tenant is None:
        detail = "Send your API key in the header: Authorization: Bearer pm_live_..."
        raise AuthenticationError(detail)
    return Principal(
        tenant_id=tenant.id,
        project_id=None,
        key_id=ANONYMOUS_KEY,
        role="tenant",
        consent_mode=tenant.consent_mode,
    )
