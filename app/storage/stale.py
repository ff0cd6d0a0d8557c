"""What lies in a folder and nobody has written to for a while."""

import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path


def older(paths: Iterable[Path], age_s: float) -> Iterator[Path]:
    """Those whose last write is at least ``age_s`` seconds ago."""
    horizon = time.time() - age_s
    for path in paths:
        try:
            if path.stat().st_mtime <= horizon:
                yield path
        except FileNotFoundError:  # its owner was quicker
            continue


def remove_older(folder: Path, age_s: float) -> int:
    """Delete what is stale in a folder; returns how many."""
    stale = list(older(folder.iterdir(), age_s))
    for path in stale:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(stale)
