"""tus 1.0.0 in headers: what they say, and what answers carry. Pure, but for the request at hand.

https://tus.io/protocols/resumable-upload: core, creation, creation-with-upload, termination,
checksum, expiration.
"""

import base64
from collections.abc import Mapping
from typing import Final

from werkzeug.datastructures import Headers
from werkzeug.http import http_date

from app.errors import InvalidRequestError, ProblemError
from app.uploads.checksum import ALGORITHMS
from app.uploads.models import Upload
from app.uploads.service import UploadOffer

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,termination,checksum,expiration"
BODY_TYPE: Final = "application/offset+octet-stream"
FILE_HEADER: Final = "Pixelmeter-File"  # the id of the file that an upload became
LABELS_LENGTH_MAX: Final = 4096
NUMBER_DIGITS_MAX: Final = 15


def require_version(headers: Headers) -> None:
    """Refuse another version of the protocol: 412 ``tus_version``."""
    if headers.get("Tus-Resumable") != VERSION:
        detail = f"This address speaks tus {VERSION}. Send the header Tus-Resumable: {VERSION}."
        problem = ProblemError(detail, code="tus_version", status=412)
        problem.title = "Precondition Failed"
        raise problem


def offer_of(headers: Headers) -> UploadOffer:
    """What a creation says of its file."""
    if "Upload-Defer-Length" in headers:
        detail = "Send the length of the file as Upload-Length; it cannot follow later."
        raise InvalidRequestError(detail, code="invalid_upload_header", status=400)
    labels = headers.get("Upload-Metadata", "")
    said = _labels(labels)
    return UploadOffer(
        total=number(headers, "Upload-Length"),
        name=said.get("filename") or said.get("name"),
        labels=labels,
    )


def number(headers: Headers, name: str) -> int:
    """A header that is a whole number: 400 ``invalid_upload_header`` when it is not."""
    text = headers.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS_MAX):
        detail = f"The header {name} must be a whole number of bytes."
        raise InvalidRequestError(detail, code="invalid_upload_header", status=400)
    return int(text)


def _labels(header: str) -> dict[str, str]:
    """``Upload-Metadata``: keys with base64 values, separated by commas."""
    found: dict[str, str] = {}
    if len(header) > LABELS_LENGTH_MAX:
        raise _malformed_labels()
    for pair in filter(None, header.split(",")):
        key, _, encoded = pair.strip().partition(" ")
        try:
            value = base64.b64decode(encoded, validate=True).decode()
        except ValueError:
            raise _malformed_labels() from None
        if not key or key in found or "\0" in value:
            raise _malformed_labels()
        found[key] = value
    return found


def _malformed_labels() -> InvalidRequestError:
    detail = "Upload-Metadata must be keys with base64 values of UTF-8 text, separated by commas."
    return InvalidRequestError(detail, code="invalid_upload_header", status=400)


def what_is_spoken(max_bytes: int) -> dict[str, str]:
    """The headers of an answer to OPTIONS."""
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(max_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def standing(upload: Upload) -> Mapping[str, str]:
    """The headers that tell how far an upload is, and which file it became."""
    headers = {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(upload.received),
        "Upload-Length": str(upload.total),
        "Upload-Expires": http_date(upload.expires_at),
        "Cache-Control": "no-store",
    }
    if upload.labels:
        headers["Upload-Metadata"] = upload.labels
    if upload.file_id is not None:
        headers[FILE_HEADER] = upload.file_id
    return headers
