"""Identifiers: a prefix that names the kind and a ULID that sorts by time."""

from typing import Literal

from ulid import ULID

Prefix = Literal[
    "ten", "prj", "key", "file", "job", "hold", "whe", "evt", "dlv", "req", "apr", "rch", "rule",
    "odd", "est", "mdl", "batch", "face", "upl",
]  # fmt: skip


def new_id(prefix: Prefix) -> str:
    """Return a fresh identifier such as ``job_01J9ZK3E8W6Y0T7H2M4N5P6Q7R``.

    The 26 characters after the prefix are a ULID: 48 bits of milliseconds and 80 random bits.
    """
    return f"{prefix}_{ULID()}"
