"""Reading no further than a part of a file goes."""

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class PartOfFile(io.RawIOBase):
    """The next ``length`` bytes of a stream; closes it with itself."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream = stream
        self._left = length

    def readable(self) -> bool:
        """Always: it only reads."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read into the buffer, up to the end of the part."""
        view = memoryview(buffer).cast("B")
        content = self._stream.read(min(len(view), self._left))
        view[: len(content)] = content
        self._left -= len(content)
        return len(content)

    def close(self) -> None:
        """Close the stream too."""
        self._stream.close()
        super().close()
