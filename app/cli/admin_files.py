"""`pixelmeter admin gc`: rows and objects compared, both ways."""

from datetime import UTC, datetime

import click

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import ACTOR, sessions
from app.files.garbage import StrangeStorageError, collect_garbage
from app.storage import StorageError, open_storage
from billing.audit import record


@click.command(
    short_help="Delete files without a row and rows without a file.",
    epilog=examples("pixelmeter admin gc --dry-run", "pixelmeter admin gc"),
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@pass_context
def gc(context: Context, *, dry_run: bool) -> None:
    """Compare the storage with the database and delete what belongs to nothing.

    Safe while the platform runs, which does the same every hour.
    """
    now, settings = datetime.now(UTC), context.settings
    try:
        storage = open_storage(context.storage_url(), home=settings.home)
        with sessions(context) as factory:
            found = collect_garbage(factory, storage, now=now, dry_run=dry_run)
            if not dry_run:
                with factory.begin() as session:
                    detail = {"found": str(found)}
                    record(
                        session, actor=ACTOR, action="files.gc", subject="", detail=detail, now=now
                    )
    except (StrangeStorageError, StorageError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{'Found' if dry_run else 'Deleted'} {found}.")
