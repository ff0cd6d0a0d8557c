"""Messages between a process and the one that builds for it: a line of JSON, then bytes.

The request carries the network and what is wanted of it. Any number of steps is told; the answer
carries the plan, or a refusal in place of it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

ReadExactly = Callable[[int], bytes]
_LENGTH_BYTES = 4


def pack(head: Mapping[str, Any], content: bytes = b"") -> list[bytes]:
    """A message in pieces; the content is not copied."""
    text = json.dumps({**head, "bytes": len(content)}).encode()
    return [len(text).to_bytes(_LENGTH_BYTES, "little"), text, content]


def unpack(read: ReadExactly) -> tuple[dict[str, Any], bytes]:
    """One message; raises whatever ``read`` raises when the other side is gone."""
    length = int.from_bytes(read(_LENGTH_BYTES), "little")
    head: dict[str, Any] = json.loads(read(length))
    return head, read(head.pop("bytes"))
