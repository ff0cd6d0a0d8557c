"""Folders of attempts: one each, gone with it, or swept up when its worker died."""

import shutil
import time
from pathlib import Path

from workers.services import Services


def work_root(services: Services) -> Path:
    """Where attempts have their folders; the sweeper removes those of dead workers."""
    root = services.settings.home / "tmp"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def clean_work(root: Path, *, older_than_s: float) -> int:
    """Remove folders of attempts whose worker died; returns how many."""
    horizon = time.time() - older_than_s
    stale = [path for path in root.iterdir() if path.stat().st_mtime < horizon]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return len(stale)
