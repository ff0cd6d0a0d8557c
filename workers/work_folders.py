"""Folders of attempts: one each, gone with it, or swept up when its worker died.

Who works in a folder holds a lock on it, which the kernel gives up with the process: a folder
that nobody holds is of a dead worker, however new it is.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.services import Services

# Between making a folder and locking it; longer than that nobody needs.
FRESH_S = 10.0


def work_root(services: Services) -> Path:
    """Where attempts have their folders; the sweeper removes those of dead workers."""
    root = services.settings.home / "tmp"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


@contextmanager
def work_folder(root: Path, name: str) -> Iterator[Path]:
    """An empty folder, locked by this process and gone afterwards."""
    with tempfile.TemporaryDirectory(
        prefix=f"{name}-", dir=root, ignore_cleanup_errors=True
    ) as folder:
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield Path(folder)
        finally:
            os.close(held)


def clean_work(root: Path, *, older_than_s: float = FRESH_S) -> int:
    """Remove folders of attempts whose worker died; returns how many."""
    horizon = time.time() - older_than_s
    return sum(_remove_if_dead(path, horizon) for path in root.iterdir())


def _remove_if_dead(path: Path, horizon: float) -> bool:
    try:
        if path.stat().st_mtime >= horizon:
            return False
        held = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(held)
    shutil.rmtree(path, ignore_errors=True)
    return True
