"""`pixelmeter ratecards calibrate`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import transaction
from billing.measured import measured_runs
from billing.publishing import versions

OUT_FILE = click.Path(dir_okay=False, path_type=Path)
DEFAULT_PERIOD = timedelta(days=7)


@click.command(
    short_help="Fit a card to the compute time that was recorded.",
    epilog=examples(
        "pixelmeter ratecards calibrate --card yolo --since 2026-11-01",
        "pixelmeter ratecards calibrate --card yolo --out yolo.toml --plot yolo.png",
    ),
)
@click.option("--card", required=True, help="Its name, such as yolo.")
@click.option("--since", help="Only runs from this time on, ISO 8601; default: the last 7 days.")
@click.option(
    "--tokens-per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="What a second of compute is worth; default: what the card earns for it now.",
)
@click.option("--out", type=OUT_FILE, help="Save the proposed version as TOML.")
@click.option("--plot", type=OUT_FILE, help="Save predicted against measured as PNG.")
@pass_context
def calibrate(
    context: Context,
    *,
    card: str,
    since: str | None,
    tokens_per_second: float | None,
    out: Path | None,
    plot: Path | None,
) -> None:
    """Fit the numbers of CARD to recorded compute time and propose a version.

    Prints the fitted numbers and the errors on runs held out. Nothing is published: preview and
    publish the proposal if you like it.
    """
    # SciPy and Matplotlib take a second to import; the other commands should not.
    from app.calibration.fit import calibrate as fit  # noqa: PLC0415
    from app.calibration.plot import save_plot  # noqa: PLC0415
    from app.calibration.proposal import proposal_toml, report  # noqa: PLC0415

    now = datetime.now(UTC)
    with transaction(context) as session:
        known = [each for each in versions(session, card=card) if each.state(now) == "current"]
        if not known:
            message = f"There is no rate card {card!r} in force; see `pixelmeter ratecards list`."
            raise click.ClickException(message)
        begin = now - DEFAULT_PERIOD if since is None else _moment(since)
        runs = list(measured_runs(session, card=card, since=begin))
    found = fit(known[0].card, runs, tokens_per_second=tokens_per_second)
    proposal = proposal_toml(found, known[0].body)
    click.echo(report(found))
    if plot is not None:
        save_plot(found, plot)
        click.echo(f"\nplot      {plot}")
    if out is None:
        click.echo(f"\n{proposal}")
    else:
        out.write_text(proposal, encoding="utf-8")
        click.echo(f"proposal  {out}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is no time, such as 2026-11-01 or 2026-11-01T08:00:00+08:00"
        raise click.BadParameter(message) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
