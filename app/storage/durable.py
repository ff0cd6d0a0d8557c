"""Files that are on the disk, name included, before anybody hears of them."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def appear(path: Path, target: Path) -> None:
    """Give a synced file its final name, atomically."""
    target.parent.mkdir(exist_ok=True, mode=0o700)
    path.rename(target)
    sync(target.parent)
