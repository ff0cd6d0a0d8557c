"""``pixelmeter``: the command line. Commands are imported when they are used, so it starts fast."""

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

import click
from rich.console import Console

from app.cli.context import Context
from app.cli.failures import SHOWN
from app.settings import load_settings


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives and its one line in `pixelmeter --help`."""

    module: str
    section: str
    help: str


MACHINE, JOBS, MONEY, OPERATOR = "This machine", "Jobs", "Money", "Operators"

COMMANDS: dict[str, Entry] = {
    "up": Entry("app.cli.up", MACHINE, "Start everything on this machine."),
    "down": Entry("app.cli.machine", MACHINE, "Stop what `up` started."),
    "status": Entry("app.cli.machine", MACHINE, "Show processes, queue depths, oldest job."),
    "demo": Entry("app.cli.demo", MACHINE, "Run the main job on real pictures and a video."),
    "submit": Entry("app.cli.submit", JOBS, "Send files through an engine."),
    "quote": Entry("app.cli.submit", JOBS, "Say what a job would cost at most."),
    "jobs": Entry("app.cli.jobs", JOBS, "List jobs, newest first."),
    "job": Entry("app.cli.jobs", JOBS, "Show one job."),
    "cancel": Entry("app.cli.jobs", JOBS, "Ask a job to stop."),
    "batches": Entry("app.cli.batches", JOBS, "List batches, newest first."),
    "batch": Entry("app.cli.batches", JOBS, "Show, cancel or retry a batch."),
    "balance": Entry("app.cli.money", MONEY, "Show the tokens that are left."),
    "ledger": Entry("app.cli.money", MONEY, "Show the statement of the wallet."),
    "usage": Entry("app.cli.usage", MONEY, "Report what was used, by time and by whom."),
    "caps": Entry("app.cli.caps", MONEY, "Show and set limits of spending."),
    "invoices": Entry("app.cli.invoices", MONEY, "List invoices, or save one as PDF."),
    "statement": Entry("app.cli.invoices", MONEY, "Show a month of the wallet, or save it."),
    "models": Entry("app.cli.models", OPERATOR, "List, pull, verify and add models."),
    "ratecards": Entry("app.cli.ratecards", OPERATOR, "Prices: preview, publish, assign, rules."),
    "admin": Entry("app.cli.admin", OPERATOR, "Create tenants and keys, grant tokens, reconcile."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help page."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(entry.module), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, without importing any."""
        del ctx
        for section in (MACHINE, JOBS, MONEY, OPERATOR):
            rows = [(name, e.help) for name, e in COMMANDS.items() if e.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`pixelmeter COMMAND --help` shows examples. Settings are environment variables; "
    "README.md lists them. State is kept in PIXELMETER_HOME (default .pixelmeter).",
)
@click.version_option(package_name="pixelmeter")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Asynchronous image and video jobs, billed by measured work."""
    ctx.obj = Context(settings=load_settings(), console=Console(highlight=False))


def main() -> NoReturn:
    """Run the command line; every expected failure is one sentence and exit code 1."""
    try:
        cli(prog_name="pixelmeter")
    except SHOWN as error:
        click.echo(f"pixelmeter: {error}", err=True)
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
