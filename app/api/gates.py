"""Few at a time for work that keeps its thread; the others are told to come again."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Semaphore

from app.errors import UnavailableError


@contextmanager
def place_in(gate: Semaphore, *, wait_s: float, detail: str, retry_after_s: int) -> Iterator[None]:
    """Take a place, waiting for one at most ``wait_s``.

    Raises:
        UnavailableError: code ``overloaded``.
    """
    if not gate.acquire(timeout=wait_s):
        raise UnavailableError(detail, code="overloaded", retry_after_s=retry_after_s)
    try:
        yield
    finally:
        gate.release()
