"""Objects that arrive in pieces, as S3 multipart uploads.

The server takes no part below 5 MiB except the last. A piece that is smaller waits as an object of
its own, the tail, and goes in front of the next piece. Parts and tail are what the state names: an
append that was not told to anybody is overwritten by the next one at its offset.
"""

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from app.storage.protocol import GrowingState, Grown
from app.storage.s3_bucket import OBJECTS, S3Bucket
from app.storage.s3_errors import told

PART_BYTES_MIN: Final = 5 * 1024 * 1024
PARTS_MAX: Final = 10_000
TAILS: Final = "tails/"


class GrowingParts:
    """Implements ``GrowingObjects``; its state is the upload's id, its parts and its tail."""

    def __init__(self, bucket: S3Bucket) -> None:
        self._bucket = bucket

    def begin(self, key: str, *, total: int) -> GrowingState:
        """See ``GrowingObjects.begin``."""
        del total
        name = self._bucket.object_name(key)
        with told(key):
            answer = self._bucket.client.create_multipart_upload(**name, ChecksumAlgorithm="SHA256")
        return {"upload": answer["UploadId"], "parts": [], "tail": None}

    def append(
        self, key: str, state: GrowingState, *, offset: int, piece: bytes | memoryview, total: int
    ) -> Grown:
        """See ``GrowingObjects.append``."""
        content = b"".join((self._tail(key, state), piece))
        end = offset + len(piece)
        if end == total or len(content) >= max(PART_BYTES_MIN, -(-total // PARTS_MAX)):
            part = self._put_part(key, state, content)
            return Grown(end, {**state, "parts": [*state["parts"], part], "tail": None})
        name = self._bucket.named(TAILS, f"{key}/{end}")
        with told(key):
            self._bucket.client.put_object(**name, Body=content, ChecksumAlgorithm="SHA256")
        return Grown(end, {**state, "tail": end})

    def _tail(self, key: str, state: GrowingState) -> bytes:
        if state["tail"] is None:
            return b""
        with told(key):
            answer = self._bucket.client.get_object(
                **self._bucket.named(TAILS, f"{key}/{state['tail']}")
            )
            content: bytes = answer["Body"].read()
        return content

    def _put_part(self, key: str, state: GrowingState, content: bytes) -> dict[str, Any]:
        number = len(state["parts"]) + 1
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        with told(key):
            answer = self._bucket.client.upload_part(
                **self._bucket.object_name(key),
                UploadId=state["upload"],
                PartNumber=number,
                Body=content,
                ChecksumSHA256=checksum,
            )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def finish(self, key: str, state: GrowingState) -> None:
        """See ``GrowingObjects.finish``."""
        name = self._bucket.object_name(key)
        try:
            with told(key):
                self._bucket.client.complete_multipart_upload(
                    **name, UploadId=state["upload"], MultipartUpload={"Parts": state["parts"]}
                )
        except FileNotFoundError:
            if self._bucket.size(name) is None:
                raise
        self._drop_tails(key)

    def drop(self, key: str) -> None:
        """See ``GrowingObjects.drop``."""
        for upload in self._uploads(self._bucket.object_name(key)["Key"]):
            try:
                with told(key):
                    self._bucket.client.abort_multipart_upload(
                        **self._bucket.object_name(key), UploadId=upload["UploadId"]
                    )
            except FileNotFoundError:
                continue
        self._drop_tails(key)

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """See ``GrowingObjects.keys``."""
        prefix = self._bucket.prefix(OBJECTS)
        now = datetime.now(UTC)
        for upload in self._uploads(prefix):
            if (now - upload["Initiated"]).total_seconds() >= older_than_s:
                yield upload["Key"].removeprefix(prefix)

    def _uploads(self, prefix: str) -> Iterator[dict[str, Any]]:
        with told(prefix):
            pages = self._bucket.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket.place.bucket, Prefix=prefix
            )
            for page in pages:
                yield from page.get("Uploads", ())

    def _drop_tails(self, key: str) -> None:
        for tail in self._bucket.listed(TAILS, f"{key}/"):
            self._bucket.delete(self._bucket.named(TAILS, tail.key))
