"""`pixelmeter models convert`: the half-precision variant of a model, checked and registered."""

import click

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.engine_room import open_engines
from engines.halving.difference import TOLERANCE
from engines.halving.variant import convert as convert_model


@click.command(
    short_help="Make the fp16 variant of a model.",
    epilog=examples("pixelmeter models convert colorize tiny@1 --fp16"),
)
@click.argument("engine")
@click.argument("model", metavar="NAME[@VERSION]")
@click.option("--fp16", is_flag=True, required=True, help="Half precision; there is no other yet.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, min_open=True),
    default=TOLERANCE,
    show_default=True,
    help="Largest difference from fp32, as a share of an output channel's root mean square.",
)
@pass_context
def convert(
    context: Context,
    *,
    engine: str,
    model: str,
    fp16: bool,  # noqa: ARG001 - which conversion: it must be said
    tolerance: float,
) -> None:
    """Convert the weights of a model to fp16, check them against fp32, and register them.

    The variant becomes a version of its model. The plain NAME goes on to mean what it meant: a job
    asks for the variant by NAME@VERSION, or by `fp16` where an engine has that parameter.
    Needs the extra `convert`.
    """
    made = convert_model(open_engines(context.settings), engine, model, tolerance=tolerance)
    if made.difference is None:
        context.console.print(f"{made.model.id} is the fp16 variant already.")
        return
    sha256, difference = made.model.weights[0].sha256, made.difference
    context.console.print(
        f"Registered {made.model.id} (fp16, sha256 {sha256[:12]}...): differs from fp32 by "
        f"{difference.share:.2%} at most, on {difference.inputs} inputs.",
        soft_wrap=True,
    )
