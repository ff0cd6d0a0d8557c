"""`pixelmeter admin grant-rules`: what is given by the clock."""

from datetime import UTC, datetime

import click
from sqlalchemy.orm import Session

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_table import tokens_text
from app.cli.on_database import ACTOR, transaction
from app.grants.tick import BATCH, grant_due
from app.ids import new_id
from app.recharges.order import positive_amount
from app.tenants.service import CHOICES
from billing import audit
from billing.amounts import to_number
from billing.grant_rules import MEASURES, NewRule, create, listed, switch
from billing.grant_schedule import RuleKind


@click.group(name="grant-rules", short_help="What is given by the clock.")
def grant_rules() -> None:
    """Rules that give tokens: each night, each month, as a reward."""


@grant_rules.command(name="list", short_help="List the rules.")
@pass_context
def list_command(context: Context) -> None:
    """List the rules, newest first."""
    with transaction(context) as session:
        rules = listed(session)
    for rule in rules:  # plain lines: a table would cut the ids that other commands need
        lasts = "for ever" if rule.lifetime_days is None else f"{rule.lifetime_days} d"
        click.echo(
            f"{rule.id}  {'on ' if rule.is_enabled else 'off'}  {rule.kind.value:<8}  "
            f"{tokens_text(to_number(rule.amount)):>10} to {rule.group or 'all'}, "
            f"lasts {lasts}: {rule.name}"
        )


@grant_rules.command(
    name="add",
    short_help="Add a rule.",
    epilog=examples(
        "pixelmeter admin grant-rules add 'enterprise cycle' 5000 --kind monthly --month-day 1 "
        "--group enterprise",
        "pixelmeter admin grant-rules add 'busy yesterday' 20 --kind reward --measure jobs "
        "--at-least 100",
    ),
)
@click.argument("name")
@click.argument("tokens")
@click.option("--kind", type=click.Choice(["daily", "monthly", "reward"]), default="daily")
@click.option("--group", type=click.Choice(CHOICES["group"]), help="By default all groups.")
@click.option("--lifetime-days", type=int, help="Local dates that the tokens last; default: ever.")
@click.option("--month-day", type=int, help="Of a monthly rule: 1 to 31.")
@click.option("--measure", type=click.Choice(MEASURES), help="Of a reward.")
@click.option("--at-least", type=int, help="Of a reward: how many on the date before.")
@pass_context
def add_command(
    context: Context,
    *,
    name: str,
    tokens: str,
    kind: str,
    group: str | None,
    lifetime_days: int | None,
    month_day: int | None,
    measure: str | None,
    at_least: int | None,
) -> None:
    """Add the rule NAME that gives TOKENS to each tenant of a group."""
    wanted = NewRule(
        name=name,
        kind=RuleKind(kind),
        amount=positive_amount(tokens),
        group=group,
        month_day=month_day,
        measure=measure,
        at_least=at_least,
        lifetime_days=lifetime_days,
    )
    now = datetime.now(UTC)
    with transaction(context) as session:
        made = create(session, wanted, rule_id=new_id("rule"), maker=ACTOR, now=now)
        _log(session, "grant_rule.create", made.id, now)
    click.echo(f"{made.id} grants from the next date that begins.")


def _switch(context: Context, rule_id: str, *, is_enabled: bool) -> None:
    now = datetime.now(UTC)
    with transaction(context) as session:
        found = switch(session, rule_id, is_enabled=is_enabled, now=now)
        _log(session, "grant_rule.enable" if is_enabled else "grant_rule.disable", rule_id, now)
    click.echo(f"{found.name} is {'on' if is_enabled else 'off'}.")


@grant_rules.command(name="enable", short_help="Switch a rule on.")
@click.argument("rule_id")
@pass_context
def enable_command(context: Context, *, rule_id: str) -> None:
    """Switch a rule on; nothing of the time that it was off is caught up."""
    _switch(context, rule_id, is_enabled=True)


@grant_rules.command(name="disable", short_help="Switch a rule off.")
@click.argument("rule_id")
@pass_context
def disable_command(context: Context, *, rule_id: str) -> None:
    """Switch a rule off at once; what it gave stays."""
    _switch(context, rule_id, is_enabled=False)


@grant_rules.command(name="run", short_help="Grant now what is due.")
@pass_context
def run_command(context: Context) -> None:
    """Grant what is due and missing, as beat does every five minutes; twice changes nothing."""
    total, granted = 0, BATCH
    while granted == BATCH:
        with transaction(context) as session:
            granted = grant_due(session, now=datetime.now(UTC))
        total += granted
    click.echo(f"Granted {total} times.")


def _log(session: Session, action: str, rule_id: str, now: datetime) -> None:
    audit.record(session, actor=ACTOR, action=action, subject=rule_id, detail={}, now=now)
