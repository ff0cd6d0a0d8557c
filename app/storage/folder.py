"""Objects as files of one folder.

``objects/ab/ab12...`` holds whole objects, ``growing/ab12...`` those that still arrive,
``scratch/`` private files. All three lie on one file system, so that appearing is a rename.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from app.storage.durable import appear, sync
from app.storage.growing_files import GrowingFiles
from app.storage.part import PartOfFile
from app.storage.protocol import (
    COPY_BYTES,
    DirectUploads,
    StoredObject,
    checked_key,
    new_key,
)
from app.storage.scratch import ScratchFolder


class FileStorage:
    """Implements ``Storage`` on a local or shared folder."""

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self._objects.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._scratch = ScratchFolder(root / "scratch")
        self.growing = GrowingFiles(root / "growing", self.path)
        self.direct: DirectUploads | None = None

    def scratch(self) -> AbstractContextManager[Path]:
        """See ``Storage.scratch``; the file lies on the file system of the objects."""
        return self._scratch.file()

    def put_file(self, path: Path, *, move: bool = False, key: str | None = None) -> str:
        """See ``Storage.put_file``; ``move`` needs a path on the same file system."""
        if not move:
            with path.open("rb") as stream:
                return self._put(stream, key or new_key())
        sync(path)
        return self._adopt(path, key or new_key())

    def put_stream(self, stream: BinaryIO) -> str:
        """See ``Storage.put_stream``."""
        return self._put(stream, new_key())

    def _put(self, stream: BinaryIO, key: str) -> str:
        with self.scratch() as path:
            with path.open("wb") as target:
                shutil.copyfileobj(stream, target, COPY_BYTES)
                target.flush()
                os.fsync(target.fileno())
            return self._adopt(path, key)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """See ``Storage.open``."""
        stream = self.path(key).open("rb")
        if start == 0 and length is None:
            return stream
        stream.seek(start)
        return cast(BinaryIO, stream if length is None else PartOfFile(stream, length))

    def path(self, key: str) -> Path:
        """Where an object lies; a key that we did not make is refused before it meets the disk."""
        return self._objects / checked_key(key)

    def local(self, key: str, folder: Path) -> Path:
        """See ``Storage.local``; it is the object's own file."""
        del folder
        path = self.path(key)
        if not path.is_file():
            raise FileNotFoundError(key)
        return path

    @contextmanager
    def nearby(self, key: str) -> Iterator[Path]:
        """See ``Storage.nearby``."""
        yield self.local(key, self._objects)

    def size(self, key: str) -> int | None:
        """See ``Storage.size``."""
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """See ``Storage.delete``."""
        self.path(key).unlink(missing_ok=True)

    def check(self) -> None:
        """See ``Storage.check``."""
        with self.scratch() as path:
            path.write_bytes(b"ready")

    def objects(self) -> Iterator[StoredObject]:
        """See ``Storage.objects``; one sub-folder is listed at a time."""
        now = time.time()
        for folder in sorted(self._objects.iterdir()):
            for path in sorted(folder.iterdir()):
                try:
                    facts = path.stat()
                except FileNotFoundError:  # deleted meanwhile
                    continue
                yield StoredObject(
                    f"{folder.name}/{path.name}", facts.st_size, now - facts.st_mtime
                )

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """See ``Storage.keys``; walks the whole tree."""
        return (each.key for each in self.objects() if each.age_s >= older_than_s)

    def clean_scratch(self, *, older_than_s: float) -> int:
        """See ``Storage.clean_scratch``."""
        return self._scratch.clean(older_than_s=older_than_s)

    def _adopt(self, path: Path, key: str) -> str:
        appear(path, self.path(key))
        return key
