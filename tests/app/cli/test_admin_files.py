"""`pixelmeter admin gc` on a real database and folder."""

import io
import os
from pathlib import Path

from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.cli.main import cli
from app.storage import FileStorage

LOGGED = "SELECT count(*) FROM billing.audit_action WHERE action = 'files.gc'"


def test_garbage_is_counted_first_and_deleted_then(
    tmp_path: Path, database_url: str, sessions: sessionmaker[Session]
) -> None:
    storage = FileStorage(tmp_path / "files")
    lost = storage.put_stream(io.BytesIO(b"lost"))
    os.utime(storage.path(lost), (1, 1))
    environment = {
        "DATABASE_URL": database_url,
        "STORAGE_URL": f"file://{tmp_path / 'files'}",
        "PIXELMETER_HOME": str(tmp_path),
    }

    def gc(*options: str) -> str:
        done = CliRunner().invoke(cli, ["admin", "gc", *options], env=environment)
        assert done.exit_code == 0, done.output
        return done.output

    assert "1 objects without a row" in gc("--dry-run")
    assert storage.size(lost) == 4
    assert gc().startswith("Deleted 0 scratch files")
    assert storage.size(lost) is None
    assert "0 objects without a row" in gc()
    with sessions() as session:
        logged = session.scalar(text(LOGGED))
    assert logged == 2
