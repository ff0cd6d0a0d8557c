"""Where bytes live: a folder behind a small protocol, so that an object store can follow.

Names are made here and never by a caller. An object appears under its key only when it is whole:
written to a scratch file on the same file system, synced, then renamed.
"""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}")
_COPY_BYTES = 1024 * 1024


class StorageError(Exception):
    """Raised when the storage address cannot be served or a key is not one of ours."""


class Storage(Protocol):
    """Objects under server-made keys; writes are atomic, deleting twice is fine."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Give the path of an empty private file, which is gone afterwards unless it was moved."""

    def put_file(self, path: Path, *, move: bool = False) -> str:
        """Store a copy of a local file, or the file itself with ``move``; returns its key."""

    def put_stream(self, stream: BinaryIO) -> str:
        """Store everything that ``stream`` still holds; returns its key."""

    def open(self, key: str) -> BinaryIO:
        """The object for reading; raises ``FileNotFoundError``."""

    def path(self, key: str) -> Path:
        """The object as a local file, read-only by agreement."""

    def delete(self, key: str) -> None:
        """Forget the object; an unknown key is no error."""

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """Keys of objects that were written at least that long ago."""

    def clean_scratch(self, *, older_than_s: float) -> int:
        """Delete scratch files whose process died; returns how many."""


class FileStorage:
    """Objects as files of one folder: ``objects/ab/ab12...`` and ``scratch/``."""

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self._scratch = root / "scratch"
        for folder in (self._objects, self._scratch):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """See ``Storage.scratch``; the file lies on the file system of the objects."""
        path = self._scratch / f"{secrets.token_hex(16)}.tmp"
        path.touch(mode=0o600, exist_ok=False)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def put_file(self, path: Path, *, move: bool = False) -> str:
        """See ``Storage.put_file``; ``move`` needs a path on the same file system."""
        if not move:
            with path.open("rb") as stream:
                return self.put_stream(stream)
        _sync(path)
        return self._adopt(path)

    def put_stream(self, stream: BinaryIO) -> str:
        """See ``Storage.put_stream``."""
        with self.scratch() as path:
            with path.open("wb") as target:
                shutil.copyfileobj(stream, target, _COPY_BYTES)
                target.flush()
                os.fsync(target.fileno())
            return self._adopt(path)

    def open(self, key: str) -> BinaryIO:
        """See ``Storage.open``."""
        return self.path(key).open("rb")

    def path(self, key: str) -> Path:
        """See ``Storage.path``; a key that we did not make is refused before it meets the disk."""
        if _KEY.fullmatch(key) is None:
            message = f"{key!r} is not a storage key"
            raise StorageError(message)
        return self._objects / key

    def delete(self, key: str) -> None:
        """See ``Storage.delete``."""
        self.path(key).unlink(missing_ok=True)

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """See ``Storage.keys``; walks the whole tree, meant for the sweeper."""
        for path in _older(self._objects.glob("??/*"), older_than_s):
            yield f"{path.parent.name}/{path.name}"

    def clean_scratch(self, *, older_than_s: float) -> int:
        """See ``Storage.clean_scratch``."""
        stale = list(_older(self._scratch.iterdir(), older_than_s))
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def _adopt(self, path: Path) -> str:
        name = secrets.token_hex(16)
        key = f"{name[:2]}/{name}"
        target = self._objects / key
        target.parent.mkdir(exist_ok=True, mode=0o700)
        path.rename(target)
        _sync(target.parent)
        return key


def open_storage(url: str) -> FileStorage:
    """The storage at ``STORAGE_URL``; only ``file:///absolute/folder`` is served so far."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not path.is_absolute():
        message = (
            f"STORAGE_URL {url!r} cannot be used; give a local folder, "
            "for example STORAGE_URL=file:///var/lib/pixelmeter/files"
        )
        raise StorageError(message)
    return FileStorage(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _older(paths: Iterator[Path], age_s: float) -> Iterator[Path]:
    horizon = time.time() - age_s
    for path in paths:
        try:
            if path.stat().st_mtime <= horizon:
                yield path
        except FileNotFoundError:  # its owner was quicker
            continue
