"""A disk that is really full: a tmpfs of a few megabytes."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, *, mib: int) -> Iterator[Path]:
    """Mount it; skips where this process may not mount anything."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave_bytes: int) -> Path:
    """Fill the disk up to the last ``leave_bytes`` (or a page less); returns what to delete."""
    path = folder / "filler"
    with contextlib.suppress(OSError), path.open("wb") as target:
        while True:
            target.write(bytes(4096))
            target.flush()
    with path.open("r+b") as target:
        target.truncate(max(0, path.stat().st_size - leave_bytes))
    return path
