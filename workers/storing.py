"""What a storage that is away or full means for an attempt."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from app.storage import StorageUnavailableError
from engines.errors import ExhaustedError
from workers.persistence import repeat

Stored = TypeVar("Stored")


@contextmanager
def at_hand() -> Iterator[None]:
    """Use the storage for an attempt.

    Raises:
        ExhaustedError: ``storage_unavailable`` or ``storage_full``; another attempt may succeed.
    """
    try:
        yield
    except StorageUnavailableError as error:
        message = (
            "The file storage does not answer. Nothing is charged; submit the job again later."
        )
        raise ExhaustedError(message, code="storage_unavailable") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        message = "The file storage is full. Nothing is charged; submit the job again later."
        raise ExhaustedError(message, code="storage_full") from error


def persist_stored(store: Callable[[], Stored], *, for_s: float) -> Stored:
    """Store something, again while the storage is away; a finished run is worth waiting for.

    Raises:
        ExhaustedError: as ``at_hand``.
    """
    with at_hand():
        return repeat(store, while_raised=(StorageUnavailableError,), for_s=for_s)
