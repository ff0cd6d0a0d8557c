"""Parts of multipart bodies: only the named ones, each as often as it may come."""

from collections.abc import Collection

from flask import request
from werkzeug.datastructures import FileStorage

from app.errors import InvalidRequestError


def is_multipart() -> bool:
    """Whether the body of the request at hand is a form with files."""
    return request.mimetype == "multipart/form-data"


def only_parts(*, files: Collection[str], fields: Collection[str] = ()) -> None:
    """Refuse parts that the address does not know, or that come as the wrong kind."""
    unknown = [name for name in request.files if name not in files and name not in fields]
    unknown += [name for name in request.form if name not in fields]
    if unknown:
        known = ", ".join(dict.fromkeys((*files, *fields)))
        detail = (
            f"The part {unknown[0][:80]!r} is not one of {known}, or it must be sent as a file "
            "(with a filename)."
        )
        raise InvalidRequestError(detail, code="unknown_part", status=400)


def one_file(name: str) -> FileStorage:
    """The one file part of this name."""
    found = request.files.getlist(name)
    if not found:
        detail = f"The part {name!r} is missing. Send it as a file."
        raise InvalidRequestError(detail, code="missing_part", status=400)
    if len(found) > 1:
        detail = f"The part {name!r} came {len(found)} times. Send it once."
        raise InvalidRequestError(detail, code="duplicate_part", status=400)
    return found[0]


def one_text(name: str) -> bytes | None:
    """A part of text, sent as a field or as a file; None when it is missing."""
    fields = request.form.getlist(name)
    files = request.files.getlist(name)
    if len(fields) + len(files) > 1:
        detail = f"The part {name!r} came more than once. Send it once."
        raise InvalidRequestError(detail, code="duplicate_part", status=400)
    if files:
        content: bytes = files[0].read()
        return content
    return fields[0].encode("utf-8", "surrogatepass") if fields else None
