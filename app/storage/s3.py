"""Objects in an S3 bucket: ``<prefix>objects/ab/ab12...``.

Writes are atomic as S3's are: an object appears when its PUT or its multipart upload is complete.
Each part carries its SHA-256, which the server checks. Whoever needs a file gets a copy on this
machine (``app.storage.nearby``).
"""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from boto3.s3.transfer import TransferConfig

from app.storage.nearby import NearbyCopies
from app.storage.protocol import COPY_BYTES, StoredObject, checked_key, new_key
from app.storage.s3_body import ObjectBody
from app.storage.s3_bucket import OBJECTS, S3Bucket, S3Place
from app.storage.s3_direct import DirectPuts
from app.storage.s3_errors import told
from app.storage.s3_growing import GrowingParts
from app.storage.scratch import ScratchFolder

MULTIPART_FROM_BYTES: Final = 16 * 1024 * 1024
# A part at a time: many files move at once here, and memory is counted.
TRANSFER: Final = TransferConfig(
    multipart_threshold=MULTIPART_FROM_BYTES,
    multipart_chunksize=MULTIPART_FROM_BYTES,
    use_threads=False,
)
STALE_SCRATCH_S: Final = 600.0
CHECKED: Final = {"ChecksumAlgorithm": "SHA256"}


class S3Storage:
    """Implements ``Storage``."""

    def __init__(self, place: S3Place, *, folder: Path, cache_bytes: int) -> None:
        self._bucket = S3Bucket(place)
        self._scratch = ScratchFolder(folder / "scratch")
        self._scratch.clean(older_than_s=STALE_SCRATCH_S)  # sweepers run on other machines
        self._nearby = NearbyCopies(folder / "nearby", max_bytes=cache_bytes)
        self.growing = GrowingParts(self._bucket)
        self.direct = DirectPuts(self._bucket)

    def scratch(self) -> AbstractContextManager[Path]:
        """See ``Storage.scratch``; a file of this machine."""
        return self._scratch.file()

    def put_file(self, path: Path, *, move: bool = False, key: str | None = None) -> str:
        """See ``Storage.put_file``."""
        with path.open("rb") as stream:
            key = self._put(stream, key or new_key())
        if move:
            path.unlink(missing_ok=True)
        return key

    def put_stream(self, stream: BinaryIO) -> str:
        """See ``Storage.put_stream``."""
        return self._put(stream, new_key())

    def _put(self, stream: BinaryIO, key: str) -> str:
        name = self._bucket.object_name(key)
        with told(key):
            self._bucket.client.upload_fileobj(stream, **name, ExtraArgs=CHECKED, Config=TRANSFER)
        return key

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """See ``Storage.open``."""
        wanted = self._bucket.object_name(key)
        if start or length is not None:
            end = "" if length is None else start + length - 1
            wanted["Range"] = f"bytes={start}-{end}"
        with told(key):
            answer = self._bucket.client.get_object(**wanted)
        return cast(BinaryIO, ObjectBody(key, answer["Body"], answer["ContentLength"]))

    def local(self, key: str, folder: Path) -> Path:
        """See ``Storage.local``."""
        destination = folder / checked_key(key).partition("/")[2]
        if not destination.exists():
            self._nearby.give(key, destination, lambda path: self._download(key, path))
        return destination

    @contextmanager
    def nearby(self, key: str) -> Iterator[Path]:
        """See ``Storage.nearby``."""
        with self._scratch.folder() as folder:
            yield self.local(key, folder)

    def _download(self, key: str, path: Path) -> None:
        with self.open(key) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, COPY_BYTES)

    def size(self, key: str) -> int | None:
        """See ``Storage.size``."""
        return self._bucket.size(self._bucket.object_name(key))

    def delete(self, key: str) -> None:
        """See ``Storage.delete``."""
        self._bucket.delete(self._bucket.object_name(key))

    def check(self) -> None:
        """See ``Storage.check``: the bucket answers and lets us in; a write each second costs."""
        self._bucket.check()

    def objects(self) -> Iterator[StoredObject]:
        """See ``Storage.objects``; S3 lists in the order of keys."""
        return self._bucket.listed(OBJECTS)

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """See ``Storage.keys``."""
        return (each.key for each in self.objects() if each.age_s >= older_than_s)

    def clean_scratch(self, *, older_than_s: float) -> int:
        """See ``Storage.clean_scratch``; those of this machine."""
        return self._scratch.clean(older_than_s=older_than_s)
