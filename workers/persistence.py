"""Repeating a step while the database or the storage is away."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0

Written = TypeVar("Written")


def persist(write: Callable[[], Written], *, for_s: float) -> Written:
    """Run a whole transaction, again until it goes through or ``for_s`` seconds have passed.

    ``write`` has to be harmless when repeated: a commit whose answer was lost may have happened.

    Raises:
        OperationalError: the database stayed away.
    """
    return repeat(write, while_raised=(OperationalError, InterfaceError), for_s=for_s)


def repeat(
    write: Callable[[], Written], *, while_raised: tuple[type[Exception], ...], for_s: float
) -> Written:
    """Run a step again for as long as it raises one of these and ``for_s`` seconds are not over."""
    give_up_at, wait_s = time.monotonic() + for_s, FIRST_WAIT_S
    while True:
        try:
            return write()
        except while_raised as error:
            if time.monotonic() + wait_s > give_up_at:
                raise
            log.warning("not written, trying again: %s", error)
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
