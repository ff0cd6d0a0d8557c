"""`pixelmeter admin pack`, `subscribe` and `month-end`."""

import secrets
from datetime import UTC, datetime

import click
from sqlalchemy.orm import sessionmaker

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import ACTOR, tenant_id_of, transaction
from app.db import open_engine
from app.invoicing.months import close_due_months
from app.invoicing.renewals import renew_one, zone_of
from billing.amounts import to_number
from billing.purchases import buy_pack
from billing.subscriptions import subscribe
from billing.windows import Period, window_of


@click.command(
    short_help="Sell a pack of tokens.",
    epilog=examples("pixelmeter admin pack acme 100k"),
)
@click.argument("tenant")
@click.argument("pack")
@pass_context
def pack(context: Context, *, tenant: str, pack: str) -> None:
    """Sell PACK (10k, 100k, 1m) to TENANT; its tokens keep the price of their band."""
    with transaction(context) as session:
        made = buy_pack(
            session,
            tenant=tenant_id_of(session, tenant),
            pack=pack,
            idem_key=f"cli-{secrets.token_hex(16)}",
            actor=ACTOR,
            now=datetime.now(UTC),
        )
    click.echo(f"{to_number(made.tokens):,} tokens at {made.token_price} CNY: {made.amount} CNY.")


@click.command(
    name="subscribe",
    short_help="Put a tenant on a plan.",
    epilog=examples("pixelmeter admin subscribe acme monthly"),
)
@click.argument("tenant")
@click.argument("plan")
@pass_context
def subscribe_command(context: Context, *, tenant: str, plan: str) -> None:
    """Put TENANT on PLAN (monthly, yearly, vip) from today on."""
    now = datetime.now(UTC)
    with transaction(context) as session:
        tenant_id = tenant_id_of(session, tenant)
        held = subscribe(
            session,
            tenant=tenant_id,
            plan=plan,
            today=window_of(Period.DAY, zone_of(session, tenant_id), now),
            idem_key=f"cli-{secrets.token_hex(16)}",
            actor=ACTOR,
            now=now,
        )
        booked = renew_one(session, held, now=now)
    tokens = to_number(sum(each.tokens for each in booked))
    click.echo(f"{tenant} is on {plan} from {held.started_on} on; {tokens:,} tokens granted.")


@click.command(name="month-end", short_help="Issue every invoice that is due.")
@pass_context
def month_end(context: Context) -> None:
    """Issue the invoices of every month that is over; again does nothing more."""
    engine = open_engine(context.database_url(), pool_size=1)
    try:
        issued = close_due_months(sessionmaker(engine), actor=ACTOR, now=datetime.now(UTC))
    finally:
        engine.dispose()
    for each in issued:
        click.echo(f"{each.number}  {each.month:%Y-%m}  {each.body['name']}  {each.total} CNY")
    click.echo(f"{len(issued)} invoices issued.")
