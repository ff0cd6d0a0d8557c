"""`pixelmeter ratecards`: prices as data, straight on the database of this installation."""

import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from app.catalog.preview import PREVIEW_PERIOD, comparison_view
from app.catalog.rules import FOR_TENANTS, publish_checked_rule
from app.catalog.sentence import price_sentence
from app.cli.calibrate import calibrate
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import ACTOR, tenant_id_of, transaction
from app.cli.price_tables import comparison_table, overrun_table, rule_table, version_table
from app.tenants.changes import choose_card
from billing.cards import ANY_ENGINE
from billing.errors import InvalidCardError
from billing.overruns import overruns as overrun_report
from billing.preview import preview
from billing.pricing_rules import EVERYBODY, RuleKind, list_rules
from billing.publishing import proposed, publish, versions

KINDS = click.Choice([kind.value for kind in RuleKind])
CARD_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(short_help="Prices: preview, publish, assign, rules.")
def ratecards() -> None:
    """Rate cards and the rules beside them.

    Acts on DATABASE_URL, else on the platform that runs in this PIXELMETER_HOME. A published
    version never changes; jobs keep the version they were quoted with.
    """


ratecards.add_command(calibrate)


@ratecards.command(name="list", short_help="Every version of every card.")
@pass_context
def list_command(context: Context) -> None:
    """List every published version and whether it is in force."""
    with transaction(context) as session:
        found = versions(session)
    context.console.print(version_table(found, now=datetime.now(UTC)))


@ratecards.command(
    short_help="One card in words, or as data to edit.",
    epilog=examples(
        "pixelmeter ratecards show yolo",
        "pixelmeter ratecards show yolo@1 --json > yolo.json",
    ),
)
@click.argument("card")
@click.option("--json", "as_json", is_flag=True, help="The data, to edit and publish again.")
@pass_context
def show(context: Context, *, card: str, as_json: bool) -> None:
    """Show CARD (newest version in force, or card@version)."""
    now = datetime.now(UTC)
    with transaction(context) as session:
        found = versions(session, card=card.partition("@")[0])
    chosen = [
        v for v in found if v.card.id == card or ("@" not in card and v.state(now) == "current")
    ]
    if not chosen:
        message = f"There is no rate card {card!r} in force; see `pixelmeter ratecards list`."
        raise click.ClickException(message)
    version = chosen[0]
    if as_json:
        click.echo(json.dumps({"card": version.card.card, **version.body}, indent=2))
        return
    click.echo(
        f"{version.card.id}  {version.state(now)} since {version.effective_from.isoformat()}"
    )
    click.echo(price_sentence(version.card))


@ratecards.command(
    name="preview",
    short_help="Last week's work at the prices of a file.",
    epilog=examples("pixelmeter ratecards preview yolo.toml"),
)
@click.argument("file", type=CARD_FILE)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@pass_context
def preview_command(context: Context, *, file: Path, as_json: bool) -> None:
    """Price the last 7 days again with the card in FILE (TOML or JSON); nothing is stored."""
    now = datetime.now(UTC)
    with transaction(context) as session:
        card = proposed(session, read_file(file))
        found = preview(session, card, since=now - PREVIEW_PERIOD, until=now)
    parts = {"total": [found.total], "by_model": found.by_model, "by_tenant": found.by_tenant}
    if as_json:
        rows = {name: [comparison_view(each) for each in part] for name, part in parts.items()}
        click.echo(json.dumps({"rate_card": found.card_id, **rows}, indent=2))
        return
    click.echo(f"{found.card_id} against what was charged since {found.since.isoformat()}")
    context.console.print(comparison_table(parts))


@ratecards.command(
    name="publish",
    short_help="Make the card of a file the next version.",
    epilog=examples(
        "pixelmeter ratecards publish yolo.toml",
        "pixelmeter ratecards publish yolo.toml --from 2027-01-01T00:00:00+08:00",
    ),
)
@click.argument("file", type=CARD_FILE)
@click.option("--from", "start", help="When it begins; default: now. ISO 8601 with an offset.")
@pass_context
def publish_command(context: Context, *, file: Path, start: str | None) -> None:
    """Publish the card in FILE (TOML or JSON) as its next version."""
    with transaction(context) as session:
        card = publish(
            session,
            read_file(file),
            effective_from=moment_of(start),
            actor=ACTOR,
            now=datetime.now(UTC),
        )
    click.echo(f"{card.id} is published. {price_sentence(card)}")


@ratecards.command(
    name="assign",
    short_help="Put a tenant, or everybody, on a card.",
    epilog=examples(
        "pixelmeter ratecards assign acme flat",
        "pixelmeter ratecards assign everybody facefusion-gpu --engine face-swap",
        "pixelmeter ratecards assign acme --none",
    ),
)
@click.argument("tenant")
@click.argument("card", required=False)
@click.option("--engine", default=ANY_ENGINE, help="Default: every engine that the card prices.")
@click.option("--none", "clear", is_flag=True, help="Everybody's card again.")
@pass_context
def assign_command(
    context: Context, *, tenant: str, card: str | None, engine: str, clear: bool
) -> None:
    """Put TENANT (name, id or `everybody`) on CARD."""
    if clear == (card is not None):
        message = "Give either CARD or --none."
        raise click.UsageError(message)
    with transaction(context) as session:
        who = EVERYBODY if tenant == "everybody" else tenant_id_of(session, tenant)
        choose_card(session, who, card=card, engine=engine, actor=ACTOR, now=datetime.now(UTC))
    click.echo(f"{tenant} is on {card or 'the card of everybody'}.")


@ratecards.command(
    short_help="What was charged above its hold, or should be looked at.",
    epilog=examples("pixelmeter ratecards overruns --days 7"),
)
@click.option("--days", type=click.IntRange(1), default=30, show_default=True)
@pass_context
def overruns(context: Context, *, days: int) -> None:
    """Report prices above their holds, impossible compute times and work without a price."""
    now = datetime.now(UTC)
    with transaction(context) as session:
        found = overrun_report(session, since=now - timedelta(days=days), until=now)
    context.console.print(overrun_table(found))


@ratecards.command(name="rules", short_help="Every version of the rules beside the cards.")
@click.option("--kind", type=KINDS, help="Only rules of this kind.")
@pass_context
def rules_command(context: Context, *, kind: str | None) -> None:
    """List multipliers, factors of devices and whatever else changes a price."""
    with transaction(context) as session:
        found = list_rules(session, kind=kind)
    context.console.print(rule_table(found))


@ratecards.command(
    name="rule",
    short_help="Publish a rule, such as cheaper nights.",
    epilog=examples(
        "pixelmeter ratecards rule time_of_day everybody"
        ' \'{"bands": [{"from": "00:00", "to": "08:00", "factor": "0.8"}]}\'',
        'pixelmeter ratecards rule gpu_load everybody \'{"steps": [{"above": "0.8",'
        ' "factor": "1.25"}]}\'',
        'pixelmeter ratecards rule tenant_override acme \'{"percent": "90"}\'',
    ),
)
@click.argument("kind", type=KINDS)
@click.argument("subject")
@click.argument("body")
@click.option("--from", "start", help="When it begins; default: now. ISO 8601 with an offset.")
@pass_context
def rule_command(
    context: Context, *, kind: str, subject: str, body: str, start: str | None
) -> None:
    """Publish the next version of the rule KIND for SUBJECT.

    SUBJECT is a tenant or `everybody`, a device or a name; BODY is JSON.
    """
    with transaction(context) as session:
        who = EVERYBODY if subject == "everybody" else subject
        if kind in FOR_TENANTS and who != EVERYBODY:
            who = tenant_id_of(session, subject)
        rule = publish_checked_rule(
            session,
            kind=kind,
            subject=who,
            body=_json_object(body),
            effective_from=moment_of(start),
            actor=ACTOR,
            now=datetime.now(UTC),
        )
    click.echo(f"{rule.kind} of {subject}: version {rule.version} from {rule.effective_from}.")


def read_file(path: Path) -> Mapping[str, Any]:
    """A card from a TOML or JSON file.

    Raises:
        InvalidCardError: it is neither.
    """
    content = path.read_text(encoding="utf-8")
    try:
        data = json.loads(content) if path.suffix == ".json" else tomllib.loads(content)
    except ValueError as error:
        raise InvalidCardError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise InvalidCardError(f"{path} must hold one object")
    # A file of the catalogue names the engines that it is the default of; versions do not.
    return {name: value for name, value in data.items() if name != "default_for"}


def moment_of(text: str | None) -> datetime | None:
    """An aware time of the command line."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = f"{text!r} is no time with an offset, such as 2027-01-01T00:00:00+08:00"
        raise click.BadParameter(message)
    return moment


def _json_object(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        message = f"BODY is not JSON: {error}"
        raise click.BadParameter(message) from error
    if not isinstance(body, dict):
        message = "BODY must be one JSON object"
        raise click.BadParameter(message)
    return body
