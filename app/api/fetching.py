"""URL inputs: an address of the caller, fetched under the rules of ``app.outbound``."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from app.api.gates import place_in
from app.outbound import FETCH_LIMITS, Limits, OutboundPolicy, fetch

# A fetch occupies a server thread for as long as the other side likes, up to the total deadline:
# half of a process's threads stay for everybody else.
FETCHES_MAX = 4
GATE_WAIT_S = 2.0
TOO_MANY = "Too many addresses are being fetched. Send the request again, or upload the file."


def fetcher(
    policy: OutboundPolicy,
    scratch: Callable[[], AbstractContextManager[Path]],
    *,
    max_bytes: int,
    limits: Limits = FETCH_LIMITS,
    at_once: int = FETCHES_MAX,
) -> Callable[[str], BinaryIO]:
    """Make the function that fetches one address into an open file without a name.

    ``scratch`` gives a private file that is gone after its block, or swept when we die in it.

    It raises ``OutboundRefusedError``, or ``UnavailableError`` code ``overloaded`` while
    ``at_once`` others are being fetched.
    """
    gate = threading.BoundedSemaphore(at_once)

    def fetch_url(url: str) -> BinaryIO:
        with scratch() as path:
            with place_in(gate, wait_s=GATE_WAIT_S, detail=TOO_MANY, retry_after_s=5):
                fetch(url, policy, max_bytes, path, limits)
            return path.open("rb")

    return fetch_url
