"""Rate cards, rules and previews as tables of the terminal."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from rich.markup import escape
from rich.table import Table

from app.catalog.preview import comparison_view
from app.cli.job_table import tokens_text
from billing.amounts import to_number
from billing.overruns import Overruns
from billing.preview import Comparison
from billing.pricing_rules import Rule
from billing.publishing import Version

_STATES = {"current": "[green]current[/]", "scheduled": "[yellow]scheduled[/]", "past": "past"}


def version_table(found: Iterable[Version], *, now: datetime) -> Table:
    """One row per version."""
    table = Table("card", "state", "from", "until", "engines", "published by", box=None)
    for version in found:
        table.add_row(
            version.card.id,
            _STATES[version.state(now)],
            _time(version.effective_from),
            _time(version.effective_until),
            ", ".join(sorted(version.card.engines)),
            escape(version.published_by),
        )
    return table


def comparison_table(parts: Mapping[str, Iterable[Comparison]]) -> Table:
    """Old and new totals, part by part."""
    table = Table("", "name", box=None)
    for name in ("jobs", "old tokens", "new tokens", "change", "refused"):
        table.add_column(name, justify="right")
    for part, rows in parts.items():
        for each in map(comparison_view, rows):
            change = each["change_percent"]
            table.add_row(
                part.replace("_", " "),
                escape(each["name"]),
                f"{each['jobs']:,}",
                tokens_text(each["old_tokens"]),
                tokens_text(each["new_tokens"]),
                "" if change is None else f"{change:+.2f} %",
                str(each["unpriced"] or ""),
            )
    return table


def overrun_table(found: Iterable[Overruns]) -> Table:
    """One row per card, engine and model."""
    table = Table("card", "engine", "model", box=None)
    for name in ("jobs", "overruns", "absorbed", "quarantined", "unpriced"):
        table.add_column(name, justify="right")
    for each in found:
        counts = (each.quarantined_jobs, each.unpriced_jobs)
        table.add_row(
            each.card_id,
            each.engine,
            each.model,
            f"{each.jobs:,}",
            f"{each.overrun_jobs:,}",
            tokens_text(to_number(each.absorbed)),
            *(str(count) for count in counts),
        )
    return table


def rule_table(found: Iterable[Rule]) -> Table:
    """One row per version of a rule."""
    table = Table("kind", "subject", "version", "from", "published by", "says", box=None)
    for rule in found:
        table.add_row(
            rule.kind,
            escape(rule.subject),
            str(rule.version),
            _time(rule.effective_from),
            escape(rule.published_by),
            escape(json.dumps(dict(rule.body))),
        )
    return table


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S%z}"
