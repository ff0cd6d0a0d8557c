"""Private local files that are gone when their block ends, or are swept when their process died."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.storage.stale import remove_older


class ScratchFolder:
    """A folder of ``*.tmp`` files and folders."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder

    @contextmanager
    def file(self) -> Iterator[Path]:
        """An empty file of the caller's; it may move it away."""
        path = self._folder / f"{secrets.token_hex(16)}.tmp"
        path.touch(mode=0o600, exist_ok=False)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder of the caller's."""
        path = self._folder / f"{secrets.token_hex(16)}.tmp"
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def clean(self, *, older_than_s: float) -> int:
        """Delete what dead processes left; returns how many."""
        return remove_older(self._folder, older_than_s)
