"""URL inputs: an address of the caller, fetched under the rules of ``app.outbound``."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from app.outbound import OutboundPolicy, fetch


def fetcher(policy: OutboundPolicy, *, max_bytes: int) -> Callable[[str], BinaryIO]:
    """Make the function that fetches one address into an open file without a name."""

    def fetch_url(url: str) -> BinaryIO:
        descriptor, name = tempfile.mkstemp(prefix="pixelmeter-url-")
        os.close(descriptor)
        path = Path(name)
        try:
            fetch(url, policy, max_bytes, path)
            return path.open("rb")
        finally:
            path.unlink(missing_ok=True)

    return fetch_url
