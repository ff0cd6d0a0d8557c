"""Objects that clients PUT to S3 themselves, by a presigned address.

They arrive beside the objects and are copied over by the server when they are adopted: the address
may still be used until it expires, and then only overwrites what nobody reads any more.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Final

from app.storage.s3_bucket import S3Bucket
from app.storage.s3_errors import told

ARRIVING: Final = "arriving/"


class DirectPuts:
    """Implements ``DirectUploads``."""

    def __init__(self, bucket: S3Bucket) -> None:
        self._bucket = bucket

    def address(
        self, key: str, *, total: int, sha256: str | None, expires_s: int
    ) -> tuple[str, Mapping[str, str]]:
        """See ``DirectUploads.address``; length and checksum are part of what is signed."""
        wanted = {**self._arriving(key), "ContentLength": total}
        headers = {"Content-Length": str(total)}
        if sha256 is not None:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            wanted["ChecksumSHA256"] = checksum
            headers["x-amz-checksum-sha256"] = checksum
        with told(key):
            url: str = self._bucket.client.generate_presigned_url(
                "put_object", Params=wanted, ExpiresIn=expires_s, HttpMethod="PUT"
            )
        return url, headers

    def adopt(self, key: str, *, total: int) -> int | None:
        """See ``DirectUploads.adopt``."""
        source = self._arriving(key)
        try:
            with told(key):
                facts = self._bucket.client.head_object(**source)
        except FileNotFoundError:
            return self._bucket.size(self._bucket.object_name(key))  # adopted before
        if facts["ContentLength"] != total:
            return int(facts["ContentLength"])
        with told(key):
            self._bucket.client.copy(
                source,
                **self._bucket.object_name(key),
                ExtraArgs={"CopySourceIfMatch": facts["ETag"]},
            )
        self._bucket.delete(source)
        return total

    def discard(self, key: str) -> None:
        """See ``DirectUploads.discard``."""
        self._bucket.delete(self._arriving(key))

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """See ``DirectUploads.keys``."""
        return (each.key for each in self._bucket.listed(ARRIVING) if each.age_s >= older_than_s)

    def _arriving(self, key: str) -> dict[str, str]:
        return self._bucket.named(ARRIVING, key)
