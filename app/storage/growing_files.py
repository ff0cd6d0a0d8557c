"""Objects that arrive in pieces, as files of a folder: each piece is synced before it counts."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from app.storage.durable import appear, sync
from app.storage.protocol import GrowingState, Grown, checked_key
from app.storage.stale import older


class GrowingFiles:
    """Implements ``GrowingObjects``; the folder lies on the file system of the objects."""

    def __init__(self, folder: Path, object_path: Callable[[str], Path]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._object_path = object_path

    def begin(self, key: str, *, total: int) -> GrowingState:
        """See ``GrowingObjects.begin``."""
        del total
        self._path(key).touch(mode=0o600)
        sync(self._folder)
        return {}

    def append(
        self, key: str, state: GrowingState, *, offset: int, piece: bytes | memoryview, total: int
    ) -> Grown:
        """See ``GrowingObjects.append``."""
        del total
        with self._path(key).open("r+b") as target:
            target.truncate(offset)  # what an interrupted append left behind
            target.seek(offset)
            target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        return Grown(offset + len(piece), state)

    def finish(self, key: str, state: GrowingState) -> None:
        """See ``GrowingObjects.finish``."""
        del state
        try:
            appear(self._path(key), self._object_path(key))
        except FileNotFoundError:
            if not self._object_path(key).is_file():
                raise

    def drop(self, key: str) -> None:
        """See ``GrowingObjects.drop``."""
        self._path(key).unlink(missing_ok=True)

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """See ``GrowingObjects.keys``."""
        for path in older(self._folder.iterdir(), older_than_s):
            yield f"{path.name[:2]}/{path.name}"

    def _path(self, key: str) -> Path:
        return self._folder / checked_key(key).partition("/")[2]
