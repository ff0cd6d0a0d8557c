"""Messages between a worker and the confined child: a line of JSON, then raw arrays.

The child is hostile as far as the parent is concerned: every length is bounded before it is read.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from engines.runners.base import Array

HEAD_BYTES_MAX: Final = 1024 * 1024
ARRAYS_MAX: Final = 64
ARRAYS_BYTES_MAX: Final = 512 * 1024 * 1024
DTYPES: Final = frozenset(
    {"float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool"}
)

ReadExactly = Callable[[int], bytes]


class WireError(Exception):
    """Raised when a message is not what it should be, or ends too early."""


def pack(head: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> list[bytes]:
    """A message in pieces; nothing is copied but the head."""
    given = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    shapes = [[name, array.dtype.name, list(array.shape)] for name, array in given.items()]
    text = json.dumps({**head, "arrays": shapes}).encode()
    length = len(text).to_bytes(4, "little")
    return [length, text, *(array.tobytes() for array in given.values())]


def unpack(read: ReadExactly) -> tuple[dict[str, Any], dict[str, Array]]:
    """One message; the arrays are fresh and belong to the caller.

    Raises:
        WireError: it breaks a bound or is no message.
        EOFError: the other side is gone.
    """
    length = int.from_bytes(read(4), "little")
    if length > HEAD_BYTES_MAX:
        message = f"a head of {length} bytes"
        raise WireError(message)
    try:
        head = json.loads(read(length))
        described = [_described(entry) for entry in head.pop("arrays")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError("a head that is no message") from error
    _check_size(described)
    arrays = {
        name: np.frombuffer(bytearray(read(prod(shape) * dtype.itemsize)), dtype).reshape(shape)
        for name, dtype, shape in described
    }
    return head, arrays


def _described(entry: Sequence[Any]) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    name, dtype, shape = entry
    if dtype not in DTYPES or not all(type(length) is int and length >= 0 for length in shape):
        message = f"an array of {dtype!r} and {shape!r}"
        raise WireError(message)
    return str(name), np.dtype(dtype), tuple(shape)


def _check_size(described: Sequence[tuple[str, np.dtype[Any], tuple[int, ...]]]) -> None:
    size = sum(prod(shape) * dtype.itemsize for _, dtype, shape in described)
    if len(described) > ARRAYS_MAX or size > ARRAYS_BYTES_MAX:
        message = f"{len(described)} arrays of {size} bytes"
        raise WireError(message)
