"""`pixelmeter admin cap`, `freeze` and `unfreeze`: limits that an operator sets."""

from dataclasses import asdict
from datetime import UTC, datetime

import click
from sqlalchemy.orm import Session

from app.cli.caps import SCOPES, WINDOWS, show_caps
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import ACTOR, tenant_id_of, transaction
from app.limits.caps import CapWish, end_cap, list_caps, set_cap
from app.limits.freezing import freeze_tenant, unfreeze_tenant
from billing.audit import record
from billing.caps import SetBy


@click.command(
    name="cap",
    short_help="Show, set and end the caps of a tenant.",
    epilog=examples(
        "pixelmeter admin cap acme",
        "pixelmeter admin cap acme 5000 --window month",
        "pixelmeter admin cap acme --end 7",
    ),
)
@click.argument("tenant")
@click.argument("tokens", type=float, required=False)
@click.option("--window", type=WINDOWS, default="month", show_default=True)
@click.option("--scope", type=SCOPES, default="tenant", show_default=True)
@click.option("--of", "subject", help="Which project, key or end user; * for each of them.")
@click.option("--end", "ended", metavar="ID", help="Take this cap away.")
@pass_context
def cap(
    context: Context,
    *,
    tenant: str,
    tokens: float | None,
    window: str,
    scope: str,
    subject: str | None,
    ended: str | None,
) -> None:
    """Show the caps of TENANT (name or id); with TOKENS set one, with --end take one away."""
    with transaction(context) as session:
        tenant_id = tenant_id_of(session, tenant)
        if ended is not None:
            end_cap(session, tenant_id=tenant_id, cap_id=ended, set_by=SetBy.OPERATOR)
            _log(session, "cap.end", tenant_id, cap=ended)
        elif tokens is not None:
            wish = CapWish(scope, subject, window, tokens)
            set_cap(session, tenant_id=tenant_id, set_by=SetBy.OPERATOR, wish=wish)
            _log(session, "cap.set", tenant_id, **asdict(wish))
        found = list_caps(session, tenant_id=tenant_id)
    show_caps(context.console, found)


@click.command(
    name="freeze",
    short_help="Refuse new jobs of a tenant.",
    epilog=examples("pixelmeter admin freeze acme --reason 'stolen key'"),
)
@click.argument("tenant")
@click.option("--reason", required=True, help="The tenant will read it.")
@pass_context
def freeze(context: Context, *, tenant: str, reason: str) -> None:
    """Refuse new jobs of TENANT at once; running ones finish, reading goes on."""
    with transaction(context) as session:
        tenant_id = tenant_id_of(session, tenant)
        state = freeze_tenant(session, tenant_id=tenant_id, reason=reason, at=datetime.now(UTC))
        _log(session, "tenant.freeze", tenant_id, reason=reason)
    click.echo(f"{tenant} is frozen since {state.at.isoformat(timespec='seconds')}.")


@click.command(name="unfreeze", short_help="Accept new jobs of a tenant again.")
@click.argument("tenant")
@pass_context
def unfreeze(context: Context, *, tenant: str) -> None:
    """Accept new jobs of TENANT again."""
    with transaction(context) as session:
        tenant_id = tenant_id_of(session, tenant)
        changed = unfreeze_tenant(session, tenant_id=tenant_id)
        _log(session, "tenant.unfreeze", tenant_id, changed=changed)
    click.echo(f"{tenant} is open." if changed else f"{tenant} was not frozen.")


def _log(session: Session, action: str, about: str, /, **detail: object) -> None:
    record(session, actor=ACTOR, action=action, subject=about, detail=detail, now=datetime.now(UTC))
