"""`pixelmeter models calibrate-device`: a factor is proposed, never stored."""

import json
import shlex

import click

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.engine_room import runner_opener
from billing.rule_data import FACTOR_MAX
from engines.device_speed import REFERENCE_MS, ROUNDS, Speed, factor, measure_here

NOISY = 0.1
ROUNDS_LEAST, ROUNDS_MOST = 5, 500


@click.command(
    name="calibrate-device",
    short_help="Measure this host's device and propose its price factor.",
    epilog=examples(
        "pixelmeter models calibrate-device",
        "pixelmeter models calibrate-device --reference-ms 86.4",
    ),
)
@click.option(
    "--rounds", type=click.IntRange(ROUNDS_LEAST, ROUNDS_MOST), default=ROUNDS, show_default=True
)
@click.option(
    "--reference-ms",
    type=click.FloatRange(min=0, min_open=True),
    default=REFERENCE_MS,
    show_default=True,
    help="A round on the reference device; the median of your own, where prices were made on it.",
)
@pass_context
def calibrate_device(context: Context, *, rounds: int, reference_ms: float) -> None:
    """Run a fixed network on the device that jobs use here and propose the device factor.

    Time on the reference device = measured time x factor. Nothing is stored: the last line is the
    command that stores it. Run it while the device has nothing else to do, once per kind of
    device, with the runner that the workers have.
    """
    speed = measure_here(runner_opener(context.settings), rounds=rounds)
    click.echo(report(speed, reference_ms=reference_ms))


def report(speed: Speed, *, reference_ms: float) -> str:
    """What was measured, what it means, and the command that stores it.

    Raises:
        click.ClickException: the factor is beyond what a rule may say.
    """
    proposed = factor(speed.median_ms, reference_ms=reference_ms)
    if proposed > FACTOR_MAX:
        message = (
            f"{speed.device} would have the factor {proposed:f}; a rule takes at most {FACTOR_MAX}."
            " Choose a faster reference device with --reference-ms."
        )
        raise click.ClickException(message)
    lines = [
        f"device     {speed.device}",
        f"runner     {speed.runner} ({speed.provider}, {speed.precision})",
        f"median     {speed.median_ms:.3f} ms of {speed.rounds} rounds",
        f"noise      {speed.noise:.1%} (width of the middle half)",
        f"reference  {reference_ms:g} ms",
        f"factor     {proposed:f}",
    ]
    if speed.noise > NOISY:
        lines.append("This is noisy: stop what else runs on the device, and measure again.")
    return "\n".join(
        [*lines, "", "To store it:", f"  {storing_command(speed.device, f'{proposed:f}')}"]
    )


def storing_command(device: str, proposed: str) -> str:
    """The command line, quoted for a shell."""
    body = json.dumps({"factor": proposed})
    return shlex.join(["pixelmeter", "ratecards", "rule", "device_factor", device, body])
