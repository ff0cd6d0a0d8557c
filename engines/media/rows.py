"""A picture as rows that are read and written a few at a time, so that its size costs no memory.

Rows lie in an array while a picture is small and in a plain file once it is large; whoever reads
or writes them does not see which.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.unsignedinteger[Any]]  # uint8 or uint16
Depth = np.dtype[np.unsignedinteger[Any]]

IN_MEMORY_BYTES = 24 * 1024 * 1024  # of pixels; larger pictures lie in files


class Rows(Protocol):
    """Upright pixels that can be read in any order; channels are 1 (grey) or 3 (BGR)."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def channels(self) -> int:
        """1 or 3."""

    @property
    def dtype(self) -> Depth:
        """Of a sample: 8 or 16 bits, unsigned."""

    def read(self, top: int, count: int) -> Samples:
        """Return rows ``top`` to ``top + count`` as [count, width, channels]; fewer at the end."""


class SinkRows(Rows, Protocol):
    """Rows that are still being written, from the top down."""

    def append(self, rows: Samples) -> None:
        """Add rows [n, width, channels] below those that are there."""


@dataclass(slots=True, eq=False)
class ArrayRows:
    """Rows in memory."""

    pixels: Samples  # [height, width, channels]
    _filled: int = 0

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.pixels.shape[2])

    @property
    def dtype(self) -> Depth:
        """Of a sample."""
        return self.pixels.dtype

    def read(self, top: int, count: int) -> Samples:
        """A view of the rows."""
        return self.pixels[top : top + count]

    def append(self, rows: Samples) -> None:
        """Copy the rows in below the last ones."""
        self.pixels[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)


@dataclass(slots=True, eq=False)
class FileRows:
    """Rows one behind the other in a file without a header, in this machine's byte order."""

    path: Path
    height: int
    width: int
    channels: int
    dtype: Depth

    @property
    def row_bytes(self) -> int:
        """Of one row in the file."""
        return self.width * self.channels * self.dtype.itemsize

    def read(self, top: int, count: int) -> Samples:
        """Read the rows; only they are in memory."""
        count = max(0, min(count, self.height - top))
        # not mapped: pages of a mapping count as memory of this process until the kernel wants them
        flat = np.fromfile(
            self.path,
            dtype=self.dtype,
            count=count * self.width * self.channels,
            offset=top * self.row_bytes,
        )
        return flat.reshape(count, self.width, self.channels)

    def append(self, rows: Samples) -> None:
        """Write the rows at the end of the file."""
        with self.path.open("ab") as stream:
            _write(stream, rows)


def new_rows(
    path: Path, *, height: int, width: int, channels: int, dtype: Depth
) -> ArrayRows | FileRows:
    """Rows to be written: in memory while they are few, else in a new file ``path``."""
    if height * width * channels * dtype.itemsize <= IN_MEMORY_BYTES:
        return ArrayRows(np.zeros((height, width, channels), dtype=dtype))
    path.unlink(missing_ok=True)
    return FileRows(path, height, width, channels, dtype)


def overwrite(rows: Rows, top: int, left: int, block: Samples) -> None:
    """Put a block [n, width, channels] in place of what stands there."""
    if isinstance(rows, ArrayRows):
        rows.pixels[top : top + len(block), left : left + block.shape[1]] = block
        return
    if not isinstance(rows, FileRows):
        message = f"rows of the kind {type(rows).__name__} cannot be changed"
        raise TypeError(message)
    with rows.path.open("r+b") as stream:
        for number, row in enumerate(block, start=top):
            stream.seek(number * rows.row_bytes + left * rows.channels * rows.dtype.itemsize)
            _write(stream, row)


def _write(stream: IO[bytes], rows: Samples) -> None:
    stream.write(np.ascontiguousarray(rows).data)
