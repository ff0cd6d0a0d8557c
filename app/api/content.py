"""The bytes of a stored file as an answer: whole, a range, or "you have it already".

Bytes always pass through here, from a folder as from S3: so a link ends when its file is deleted,
and every answer carries the headers that keep a browser from running what it was sent.
"""

import unicodedata
from collections.abc import Iterator
from typing import BinaryIO, Final
from urllib.parse import quote

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_if_range_header, parse_range_header, quote_etag

from app.errors import NotFoundError
from app.files.models import File
from app.storage import Storage

PIECE_BYTES: Final = 256 * 1024
SAFE_CONTENT: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
}


def content_of(storage: Storage, file: File) -> Response:
    """Answer the request at hand with the content of a file.

    One range is answered by 206; several at once by the whole, as RFC 9110 allows.

    Raises:
        NotFoundError: ``file_not_found``, its object is gone.
        RequestedRangeNotSatisfiable: the range begins behind the end.
    """
    start, stop = _wanted(file)
    answer = Response(content_type=file.media_type, direct_passthrough=True)
    answer.headers.update(SAFE_CONTENT)
    _set_attachment(answer, file.name)
    answer.set_etag(file.sha256)
    answer.last_modified = file.created_at
    answer.accept_ranges = "bytes"
    answer.make_conditional(request.environ)
    if answer.status_code == 304:  # noqa: PLR2004 - HTTP's number
        return answer
    if (start, stop) != (0, file.bytes):
        answer.status_code = 206
        answer.content_range.set(start, stop, file.bytes, "bytes")
    if request.method == "GET":
        stream = _opened(storage, file, start, stop - start)
        answer.response = _pieces(stream)
        answer.call_on_close(stream.close)
    answer.content_length = stop - start
    return answer


def _wanted(file: File) -> tuple[int, int]:
    """The first byte to send and the first one not to."""
    whole = 0, file.bytes
    wanted = parse_range_header(request.headers.get("Range"))
    if request.method != "GET" or wanted is None or wanted.units != "bytes":
        return whole
    if len(wanted.ranges) != 1 or not _is_still(file):
        return whole
    begin, end = wanted.ranges[0]
    if begin < 0:  # the last so many bytes
        begin = max(0, file.bytes + begin)
    if begin >= file.bytes:
        raise RequestedRangeNotSatisfiable(file.bytes)
    return begin, min(end or file.bytes, file.bytes)


def _is_still(file: File) -> bool:
    """Whether the part that the caller has is of this very content."""
    given = request.headers.get("If-Range")
    date = parse_if_range_header(given).date
    if date is not None:
        return date == file.created_at.replace(microsecond=0)
    return given is None or given.strip() == quote_etag(file.sha256)  # a weak one never will do


def _opened(storage: Storage, file: File, start: int, length: int) -> BinaryIO:
    try:
        return storage.open(file.storage_key, start=start, length=length)
    except FileNotFoundError:
        detail = "The content of the file is gone. Upload it again."
        raise NotFoundError(detail, code="file_not_found") from None


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _set_attachment(answer: Response, name: str) -> None:
    """Name the download; RFC 6266 for names outside ASCII."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    names = {"filename": plain or "unnamed"}
    if plain != name:
        names["filename*"] = f"UTF-8''{quote(name, safe='')}"
    answer.headers.set("Content-Disposition", "attachment", **names)
