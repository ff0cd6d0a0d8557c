"""Reports as downloads: which format is wanted, and sending a file piece by piece.

A file is first written to a temporary one: memory stays small, and a slow reader holds no
connection to the database.
"""

from collections.abc import Iterator, Sequence
from typing import IO, Final

from flask import Response, request

from app.errors import FieldError, InvalidRequestError
from app.reports.files import MEDIA_TYPES, ReportFormat

PIECE_BYTES: Final = 64 * 1024


def wanted_format(
    name: str | None, *, offered: Sequence[ReportFormat] = tuple(ReportFormat)
) -> ReportFormat:
    """The format that the query or the Accept header asks for; JSON when neither does.

    Raises:
        InvalidRequestError: code ``invalid_format``.
    """
    if name is None:
        best = request.accept_mimetypes.best_match([MEDIA_TYPES[kind] for kind in offered])
        return next(
            (kind for kind, media in MEDIA_TYPES.items() if media == best), ReportFormat.JSON
        )
    if name in set(offered):
        return ReportFormat(name)
    wanted = f"one of {', '.join(offered)}"
    raise InvalidRequestError(
        f"format must be {wanted}, got {name!r}.",
        code="invalid_format",
        errors=[FieldError("/format", wanted)],
    )


def sent(file: IO[bytes], kind: ReportFormat, *, name: str) -> Response:
    """A file as a download, piece by piece; it is closed at the end."""
    size = file.tell()
    file.seek(0)

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{kind.value}"',
        "Content-Length": str(size),
    }
    response = Response(pieces(), headers=headers, content_type=MEDIA_TYPES[kind])
    response.call_on_close(file.close)
    return response
