"""From ``STORAGE_URL`` to a storage."""

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from app.storage.folder import FileStorage
from app.storage.protocol import Storage, StorageError

S3_PARAMETERS: Final = frozenset({"region", "endpoint", "addressing"})
ADDRESSING: Final = ("auto", "path", "virtual")


def open_storage(url: str, *, home: Path | None = None, cache_bytes: int = 0) -> Storage:
    """The storage at ``STORAGE_URL``; connects to nothing yet.

    Args:
        url: ``file:///absolute/folder`` or ``s3://bucket/prefix?region=..&endpoint=..``.
        home: a folder of this machine, for the scratch files and copies of a remote storage.
        cache_bytes: how much copies of remote objects may take there.

    Raises:
        StorageError: the address says something else; the sentence names an example.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _open_s3(url, parts, home, cache_bytes)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not path.is_absolute():
        message = (
            f"STORAGE_URL {url!r} cannot be used; give a local folder or an S3 bucket, for example "
            "STORAGE_URL=file:///var/lib/pixelmeter/files or STORAGE_URL=s3://bucket/prefix"
        )
        raise StorageError(message)
    return FileStorage(path)


def _open_s3(url: str, parts: SplitResult, home: Path | None, cache_bytes: int) -> Storage:
    parameters = dict(parse_qsl(parts.query))
    unknown = parameters.keys() - S3_PARAMETERS
    addressing = parameters.get("addressing", ADDRESSING[0])
    if not parts.netloc or "@" in parts.netloc or unknown or addressing not in ADDRESSING:
        message = (
            f"STORAGE_URL {url!r} cannot be used; write s3://bucket/prefix with the parameters "
            f"{', '.join(sorted(S3_PARAMETERS))} (addressing is one of {', '.join(ADDRESSING)}). "
            "Credentials come from the usual AWS variables, files or roles."
        )
        raise StorageError(message)
    if home is None:
        message = "an S3 storage needs a folder of this machine for its scratch files"
        raise StorageError(message)
    try:
        from app.storage.s3 import S3Storage  # noqa: PLC0415 - an extra
        from app.storage.s3_bucket import S3Place  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = f"STORAGE_URL {url!r} needs boto3: pip install 'pixelmeter[s3]'"
        raise StorageError(message) from error
    place = S3Place(
        bucket=parts.netloc,
        prefix=f"{unquote(parts.path).strip('/')}/".lstrip("/"),
        region=parameters.get("region"),
        endpoint=parameters.get("endpoint"),
        addressing=addressing,
    )
    return S3Storage(place, folder=home / "storage", cache_bytes=cache_bytes)
