"""`pixelmeter admin`: what an operator does, straight on the database of this installation."""

import secrets
from datetime import UTC, datetime

import click
from sqlalchemy.orm import Session

from app.cli.admin_audit import audit
from app.cli.admin_faces import faces
from app.cli.admin_files import gc
from app.cli.admin_grant_rules import grant_rules
from app.cli.admin_ledger import correct, reconcile_command, refund
from app.cli.admin_limits import cap, freeze, unfreeze
from app.cli.admin_recharges import approvals, approve, recharge, recharge_bulk, reject
from app.cli.admin_sales import month_end, pack, subscribe_command
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import ACTOR, tenant_id_of, transaction
from app.secret_box import open_secret_box
from app.tenants.changes import change_tenant
from app.tenants.service import CHOICES, create_key, create_tenant, revoke_key
from billing.amounts import from_number
from billing.audit import record
from billing.grants import issue


@click.group(short_help="Create tenants and keys, grant tokens, reconcile.")
def admin() -> None:
    """Work on tenants, keys and tokens.

    Acts on DATABASE_URL, else on the platform that runs in this PIXELMETER_HOME.
    """


for _command in (audit, cap, faces, freeze, gc, grant_rules, unfreeze):
    admin.add_command(_command)
for _command in (recharge, recharge_bulk, approvals, approve, reject):
    admin.add_command(_command)
for _command in (correct, reconcile_command, refund):
    admin.add_command(_command)
for _command in (month_end, pack, subscribe_command):
    admin.add_command(_command)


@admin.group(name="tenants", short_help="Customers.")
def tenants() -> None:
    """Customers: each owns one wallet."""


@tenants.command(
    name="create",
    short_help="Create a tenant with its first key.",
    epilog=examples(
        "pixelmeter admin tenants create acme --zone Asia/Shanghai --tokens 5000",
    ),
)
@click.argument("name")
@click.option("--group", type=click.Choice(CHOICES["group"]), default="free", show_default=True)
@click.option("--zone", default="UTC", show_default=True, help="IANA time zone of its days.")
@click.option("--mode", type=click.Choice(CHOICES["mode"]), default="prepaid", show_default=True)
@click.option("--tokens", type=float, default=0.0, help="Tokens to grant at once.")
@pass_context
def create_tenant_command(
    context: Context, *, name: str, group: str, zone: str, mode: str, tokens: float
) -> None:
    """Create the tenant NAME with an empty wallet (or with TOKENS) and its first API key."""
    settings = context.settings
    box = open_secret_box(secret_key=settings.secret_key, home=settings.home)
    with transaction(context) as session:
        tenant = create_tenant(session, name=name, box=box, group=group, zone=zone, mode=mode)
        _log(session, "tenant.create", tenant.id, name=name, group=group, zone=zone, mode=mode)
        if tokens:
            _grant(session, tenant_id=tenant.id, tokens=tokens)
        key = create_key(session, tenant_id=tenant.id, name="first")
        _log(session, "key.create", key.id, tenant=tenant.id, name="first")
    click.echo(f"tenant  {tenant.id}")
    click.echo(f"key     {key.minted.key}    (shown once; only its hash is stored)")


@tenants.command(
    name="change",
    short_help="Change zone, group, billing mode or debt limit.",
    epilog=examples(
        "pixelmeter admin tenants change acme --zone America/Havana",
        "pixelmeter admin tenants change acme --mode postpaid --debt-limit 50000",
    ),
)
@click.argument("tenant")
@click.option("--group", type=click.Choice(CHOICES["group"]))
@click.option("--zone", help="IANA time zone of its days, from now on.")
@click.option("--mode", type=click.Choice(CHOICES["mode"]))
@click.option("--debt-limit", type=click.FloatRange(min=0), help="Tokens it may owe.")
@click.option(
    "--max-segments",
    type=click.IntRange(1, 64),
    help="Parts that a long video may be cut into; 1: never.",
)
@click.option(
    "--consent-mode",
    type=click.Choice(CHOICES["consent_mode"]),
    help="contract: you attest once that the persons shown agreed.",
)
@pass_context
def change_tenant_command(
    context: Context,
    *,
    tenant: str,
    group: str | None,
    zone: str | None,
    mode: str | None,
    debt_limit: float | None,
    max_segments: int | None,
    consent_mode: str | None,
) -> None:
    """Change what is given of TENANT (name or id); the rest stays."""
    with transaction(context) as session:
        changed = change_tenant(
            session,
            tenant_id_of(session, tenant),
            group=group,
            zone=zone,
            mode=mode,
            debt_limit=debt_limit,
            max_segments=max_segments,
            consent_mode=consent_mode,
            actor=ACTOR,
            now=datetime.now(UTC),
        )
    click.echo(f"{changed.name}: group {changed.group}, zone {changed.zone}, {changed.mode}.")


@admin.group(name="keys", short_help="API keys.")
def keys() -> None:
    """API keys: shown once, stored hashed."""


@keys.command(
    name="create",
    short_help="Create a key of a tenant, or an admin key.",
    epilog=examples(
        "pixelmeter admin keys create --tenant acme --project shop",
        "pixelmeter admin keys create --admin --operator alice",
    ),
)
@click.option("--tenant", help="Name or id of the tenant.")
@click.option("--admin", "is_admin", is_flag=True, help="A key of the operator's.")
@click.option("--project", help="The project of the tenant that the key belongs to.")
@click.option("--name", default="", help="What you call it.")
@click.option(
    "--operator", help="The person who will hold an admin key; by default called like the key."
)
@pass_context
def create_key_command(
    context: Context,
    *,
    tenant: str | None,
    is_admin: bool,
    project: str | None,
    name: str,
    operator: str | None,
) -> None:
    """Create an API key.

    Where a second person has to approve, two admin keys of one operator are one person.
    """
    if is_admin == (tenant is not None):
        message = "Give either --tenant NAME or --admin."
        raise click.UsageError(message)
    with transaction(context) as session:
        tenant_id = None if tenant is None else tenant_id_of(session, tenant)
        key = create_key(
            session, tenant_id=tenant_id, project=project, name=name, operator=operator
        )
        _log(
            session,
            "key.create",
            key.id,
            tenant=tenant_id,
            project=project,
            name=name,
            operator=operator,
        )
    click.echo(f"id      {key.id}")
    click.echo(f"key     {key.minted.key}    (shown once; only its hash is stored)")


@keys.command(name="revoke", short_help="End a key at once.")
@click.argument("key_id")
@pass_context
def revoke_key_command(context: Context, *, key_id: str) -> None:
    """End the key with this id (key_...) at once; ending it twice is fine."""
    with transaction(context) as session:
        revoke_key(session, key_id=key_id)
        _log(session, "key.revoke", key_id)
    click.echo(f"{key_id} is revoked.")


@admin.command(
    name="grant",
    short_help="Give tokens to a tenant.",
    epilog=examples(
        "pixelmeter admin grant acme 1000",
    ),
)
@click.argument("tenant")
@click.argument("tokens", type=float)
@pass_context
def grant_command(context: Context, *, tenant: str, tokens: float) -> None:
    """Give TENANT (name or id) a grant of TOKENS that does not expire."""
    with transaction(context) as session:
        tenant_id = tenant_id_of(session, tenant)
        _grant(session, tenant_id=tenant_id, tokens=tokens)
    click.echo(f"Granted {tokens:g} tokens to {tenant}.")


def _grant(session: Session, *, tenant_id: str, tokens: float) -> None:
    issue(
        session,
        tenant=tenant_id,
        amount=from_number(str(tokens)),
        kind="grant",
        idem_key=f"cli:{secrets.token_hex(16)}",
        actor=ACTOR,
        now=datetime.now(UTC),
    )
    _log(session, "tokens.grant", tenant_id, tokens=tokens)


def _log(session: Session, action: str, subject: str, **detail: object) -> None:
    now = datetime.now(UTC)
    record(session, actor=ACTOR, action=action, subject=subject, detail=detail, now=now)
