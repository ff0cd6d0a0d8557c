"""What can be known before anything is started: given servers answer, the storage is usable."""

import re
from pathlib import Path

import psycopg
import redis

from app.local.errors import AddressError
from app.storage import StorageError, StorageUnavailableError, open_storage

CONNECT_TIMEOUT_S = 5


def libpq_url(url: str) -> str:
    """A database address without the name of SQLAlchemy's driver, as psycopg and psql take it."""
    return re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", url)


def check_database(url: str) -> None:
    """Connect to a PostgreSQL that the environment names.

    Raises:
        AddressError: it cannot be reached; the password is not in the message.
    """
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S):
            return
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
    message = (
        f"DATABASE_URL {hide_password(url)} cannot be used: {reason}. Start that server, correct "
        "the address, or unset DATABASE_URL to use the embedded PostgreSQL."
    )
    raise AddressError(message)


def check_redis(url: str) -> None:
    """Connect to a Redis that the environment names.

    Raises:
        AddressError: it cannot be reached.
    """
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_S)
        client.ping()
        client.close()
    except (redis.RedisError, ValueError) as error:
        message = (
            f"REDIS_URL {hide_password(url)} cannot be used: {error}. Start that server, correct "
            "the address, or unset REDIS_URL to use the embedded Redis."
        )
        raise AddressError(message) from error


def check_storage(url: str, *, home: Path) -> None:
    """Make sure that the folder can exist, or that the bucket answers and lets us in.

    Raises:
        AddressError: the address is not one, or what it names cannot be used.
    """
    try:
        open_storage(url, home=home).check()
    except StorageUnavailableError as error:
        message = (
            f"STORAGE_URL {url} cannot be used: {error.__cause__}. Check that the bucket exists, "
            "its region and endpoint, and the AWS credentials."
        )
        raise AddressError(message) from error
    except StorageError as error:
        raise AddressError(str(error)) from error
    except OSError as error:
        message = f"STORAGE_URL {url} cannot be used: {error.strerror}. Name a folder of yours."
        raise AddressError(message) from error


def hide_password(url: str) -> str:
    """The address without its secret, for messages."""
    head, separator, tail = url.rpartition("@")
    if not separator:
        return url
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{tail}"
