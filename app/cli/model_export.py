"""`pixelmeter models export`: ONNX files of published checkpoints, checked against the original."""

from pathlib import Path

import click

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from engines.exporting.ddcolor import export_ddcolor


@click.group(short_help="Make ONNX files of published checkpoints.")
def export() -> None:
    """Make ONNX files of published checkpoints.

    Needs the extra `export` (torch); nothing else of Pixelmeter does.
    """


@export.command(
    short_help="A DDColor checkpoint.",
    epilog=examples(
        "git clone https://github.com/piddnad/DDColor",
        "pixelmeter models export ddcolor ddcolor_modelscope.pth --code DDColor --out ddcolor.onnx",
        "pixelmeter models add ddcolor-modelscope ddcolor.onnx --licence Apache-2.0",
    ),
)
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--code",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A checkout of DDColor, whose own code builds the network.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The ONNX file; default: beside the checkpoint.",
)
@pass_context
def ddcolor(context: Context, *, checkpoint: Path, code: Path, out: Path | None) -> None:
    """Export CHECKPOINT, every weight accounted for, any batch and size, the same to torch.

    The checkout runs as code on this machine: take the authors' own.
    """
    made = export_ddcolor(
        checkpoint, code, out or checkpoint.with_suffix(".onnx"), say=context.console.print
    )
    context.console.print(
        f"{made.path}: {made.encoder}, {made.keys} weights, opset {made.opset}, free axes "
        f"{', '.join(made.free_axes)}, differs from torch by {made.difference:.1e}"
    )
