"""URL inputs: an address of the caller, fetched under the rules of ``app.outbound``."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.errors import UnavailableError
from app.outbound import FETCH_LIMITS, Limits, OutboundPolicy, fetch

# A fetch occupies a server thread for as long as the other side likes, up to the total deadline:
# half of a process's threads stay for everybody else.
FETCHES_MAX = 4
GATE_WAIT_S = 2.0


def fetcher(
    policy: OutboundPolicy,
    *,
    max_bytes: int,
    limits: Limits = FETCH_LIMITS,
    at_once: int = FETCHES_MAX,
) -> Callable[[str], BinaryIO]:
    """Make the function that fetches one address into an open file without a name.

    It raises ``OutboundRefusedError``, or ``UnavailableError`` code ``overloaded`` while
    ``at_once`` others are being fetched.
    """
    gate = threading.BoundedSemaphore(at_once)

    def fetch_url(url: str) -> BinaryIO:
        descriptor, name = tempfile.mkstemp(prefix="pixelmeter-url-")
        os.close(descriptor)
        path = Path(name)
        try:
            with _place_in(gate):
                fetch(url, policy, max_bytes, path, limits)
            return path.open("rb")
        finally:
            path.unlink(missing_ok=True)

    return fetch_url


@contextmanager
def _place_in(gate: threading.BoundedSemaphore) -> Iterator[None]:
    if not gate.acquire(timeout=GATE_WAIT_S):
        detail = "Too many addresses are being fetched. Send the request again, or upload the file."
        raise UnavailableError(detail, code="overloaded", retry_after_s=5)
    try:
        yield
    finally:
        gate.release()
