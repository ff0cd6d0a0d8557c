"""Copies of remote objects on this machine: bounded, shared by its processes, least used go first.

Objects never change, so a copy is right for ever. A user gets a hard link: whatever the cache lets
go meanwhile, the link stays until its folder is removed.
"""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from app.storage.stale import remove_older

PARTIAL_STALE_S = 3600.0


class NearbyCopies:
    """A folder of copies of at most ``max_bytes`` together, the newest one excepted."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._copies = folder / "copies"
        self._partial = folder / "partial"
        for each in (self._copies, self._partial):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._max_bytes = max_bytes

    def give(self, key: str, destination: Path, fetch: Callable[[Path], None]) -> None:
        """Link the object of this key to ``destination``, fetched unless it was here before."""
        kept = self._copies / key.replace("/", "-")
        try:
            destination.hardlink_to(kept)
        except FileNotFoundError:
            self._fetch(kept, destination, fetch)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.utime(kept)  # used just now

    def _fetch(self, kept: Path, destination: Path, fetch: Callable[[Path], None]) -> None:
        fresh = self._partial / secrets.token_hex(16)
        try:
            fetch(fresh)
            destination.hardlink_to(fresh)
            fresh.rename(kept)
        finally:
            fresh.unlink(missing_ok=True)
        self._trim()

    def _trim(self) -> None:
        """Let go of the least used copies above the bound, and of what dead processes left."""
        remove_older(self._partial, PARTIAL_STALE_S)
        copies: list[tuple[float, int, Path]] = []
        for path in self._copies.iterdir():
            with contextlib.suppress(FileNotFoundError):
                facts = path.stat()
                copies.append((facts.st_mtime, facts.st_size, path))
        copies.sort(reverse=True)
        total = 0
        for _, size, path in copies:
            total += size
            if total > self._max_bytes:
                path.unlink(missing_ok=True)
