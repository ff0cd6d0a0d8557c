"""One place in one bucket: its client, the names of what is ours there, and lists of it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import boto3
from botocore.config import Config

from app.storage.protocol import StorageUnavailableError, StoredObject, checked_key
from app.storage.s3_errors import told

OBJECTS: Final = "objects/"


@dataclass(frozen=True, slots=True)
class S3Place:
    """Which bucket, where in it, and where its server is; credentials are boto3's business."""

    bucket: str
    prefix: str = ""  # empty, or ending in a slash
    region: str | None = None
    endpoint: str | None = None
    addressing: str = "auto"


class S3Bucket:
    """Safe to build before a fork: a client is made at the first call of a process."""

    def __init__(self, place: S3Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._patient: Any = None
        self._impatient: Any = None

    @property
    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        """The client for everything that moves bytes; shared by threads."""
        with self._lock:
            if self._patient is None:
                self._patient = _client(self.place, attempts=3, connect_s=3, read_s=30)
            return self._patient

    def check(self) -> None:
        """Ask whether the bucket is there and lets us in, within five seconds."""
        with self._lock:
            if self._impatient is None:
                self._impatient = _client(self.place, attempts=1, connect_s=2, read_s=3)
        try:
            with told(self.place.bucket):
                self._impatient.head_bucket(Bucket=self.place.bucket)
        except FileNotFoundError as error:
            message = f"there is no bucket {self.place.bucket}"
            raise StorageUnavailableError(message) from error

    def object_name(self, key: str) -> dict[str, str]:
        """Bucket and key of an object, as boto3 takes them."""
        return self.named(OBJECTS, checked_key(key))

    def named(self, kind: str, name: str) -> dict[str, str]:
        """Bucket and key of something else of ours."""
        return {"Bucket": self.place.bucket, "Key": self.prefix(kind) + name}

    def prefix(self, kind: str) -> str:
        """What the names of one kind begin with."""
        return self.place.prefix + kind

    def size(self, name: dict[str, str]) -> int | None:
        """How many bytes it has; None when it is not there."""
        try:
            with told(name["Key"]):
                return int(self.client.head_object(**name)["ContentLength"])
        except FileNotFoundError:
            return None

    def delete(self, name: dict[str, str]) -> None:
        """Delete it, whether it is there or not."""
        with told(name["Key"]):
            self.client.delete_object(**name)

    def listed(self, kind: str, name: str = "") -> Iterator[StoredObject]:
        """Everything of one kind whose name begins so, in order."""
        prefix = self.prefix(kind)
        with told(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.bucket, Prefix=prefix + name
            )
            for page in pages:
                now = datetime.now(UTC)
                for each in page.get("Contents", ()):
                    age_s = (now - each["LastModified"]).total_seconds()
                    yield StoredObject(each["Key"].removeprefix(prefix), each["Size"], age_s)


def _client(place: S3Place, *, attempts: int, connect_s: float, read_s: float) -> Any:  # noqa: ANN401 - boto3's
    """Making one reads files and takes a tenth of a second."""
    return boto3.session.Session().client(
        "s3",
        region_name=place.region,
        endpoint_url=place.endpoint,
        config=Config(
            signature_version="s3v4",
            connect_timeout=connect_s,
            read_timeout=read_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=16,
            s3={"addressing_style": place.addressing},
        ),
    )
