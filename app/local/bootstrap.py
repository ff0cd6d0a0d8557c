"""What a fresh database needs before anyone can send a job: tables, prices, somebody who may."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from app.db import open_engine
from app.ids import new_id
from app.local.layout import Layout
from app.local.migrate import migrate
from app.local.state import read_json
from app.secret_box import open_secret_box
from app.settings import Settings
from app.tenants.demo import FIRST_OPERATOR, bootstrap_demo
from app.tenants.service import create_key
from billing.cards import publish_catalogue
from billing.grant_rules import SHIPPED, ensure_shipped


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """Who may use a machine that was just started."""

    tenant: str  # id
    tenant_key: str = field(repr=False)
    admin_key: str = field(repr=False)


def prepare_database(database_url: str, settings: Settings, *, layout: Layout) -> DemoTenant:
    """Migrate, publish the shipped rate cards and make sure of the demo tenant; safe to repeat.

    Keys are stored hashed: the ones in dev.json are kept, and made anew when that file was lost.
    """
    migrate(database_url)
    box = open_secret_box(secret_key=settings.secret_key, home=settings.home)
    engine = open_engine(database_url, pool_size=1)
    try:
        with Session(engine) as session, session.begin():
            now = datetime.now(UTC)
            publish_catalogue(session, now=now)
            ensure_shipped(session, new_ids=[new_id("rule") for _ in SHIPPED], now=now)
            access = bootstrap_demo(session, box=box, now=now)
            known = read_json(layout.dev_file) or {}
            tenant_key = access.tenant_key or known.get("tenant_key")
            admin_key = access.admin_key or known.get("admin_key")
            return DemoTenant(
                tenant=access.tenant_id,
                tenant_key=tenant_key or _new_key(session, tenant_id=access.tenant_id),
                admin_key=admin_key or _new_key(session, tenant_id=None),
            )
    finally:
        engine.dispose()


def _new_key(session: Session, *, tenant_id: str | None) -> str:
    made = create_key(session, tenant_id=tenant_id, name="dev.json", operator=FIRST_OPERATOR)
    return made.minted.key
