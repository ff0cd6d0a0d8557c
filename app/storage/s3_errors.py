"""What boto3 raises, in the words of ``app.storage.protocol``."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from app.storage.protocol import StorageUnavailableError

log = logging.getLogger(__name__)

_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})


@contextmanager
def told(key: str) -> Iterator[None]:
    """Translate what goes wrong with one object.

    Raises:
        FileNotFoundError: there is no such object or unfinished upload.
        OSError: ``ENOSPC``, the server has no room.
        StorageUnavailableError: anything else; the log says what, callers need not know.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in _ABSENT:
            raise FileNotFoundError(key) from error
        if status == HTTPStatus.INSUFFICIENT_STORAGE:
            raise OSError(errno.ENOSPC, "the S3 server has no room", key) from error
        raise _unavailable(error) from error
    except (BotoCoreError, Boto3Error, HTTPClientError, HTTPError, ConnectionError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StorageUnavailableError:
    log.warning("the S3 storage is not available: %s", error)
    return StorageUnavailableError(f"the S3 storage is not available ({type(error).__name__})")
