"""The content of an S3 object as a file that can be read forward."""

import io
from typing import TYPE_CHECKING, Any

from app.storage.protocol import StorageUnavailableError
from app.storage.s3_errors import told

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ObjectBody(io.RawIOBase):
    """Ends by an error, never early, when the server stops in the middle."""

    def __init__(self, key: str, body: Any, length: int) -> None:  # noqa: ANN401 - botocore's
        self._key = key
        self._body = body
        self._left = length

    def readable(self) -> bool:
        """Always: it only reads."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read what has come."""
        view = memoryview(buffer).cast("B")
        with told(self._key):
            content: bytes = self._body.read(len(view))
        if not content and self._left and len(view):
            raise StorageUnavailableError(f"{self._left} bytes of an object did not come")
        view[: len(content)] = content
        self._left -= len(content)
        return len(content)

    def close(self) -> None:
        """Give the connection back, or end it when something is left."""
        self._body.close()
        super().close()
