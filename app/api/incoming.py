"""What a request may look like before any handler sees it: size, encoding, names.

Each address has its own body limit. NUL, repeated and unknown query parameters are refused
here, once, so that no handler and no SQL statement has to think of them.
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask, Request, current_app, request

from app.errors import InvalidRequestError
from app.json_body import load_object
from app.recharges.csv_file import FILE_BYTES_MAX as RECHARGE_FILE_BYTES_MAX

KIB = 1024
MIB = 1024 * KIB
JSON_BYTES_MAX = 1 * MIB
INLINE_JSON_BYTES_MAX = 32 * MIB  # bodies that may carry pictures as data: URIs
FORM_FIELD_BYTES_MAX = 256 * KIB  # the `job` part of a multipart body
FORM_PARTS_MAX = 64
MULTIPART_OVERHEAD_BYTES = 64 * KIB  # boundaries and part headers beside the file itself

RECHARGE_FILES = frozenset({"admin_recharges.bulk"})
PIECES = frozenset({"uploads.create", "uploads.append", "uploads.overridden"})
UPLOADS = frozenset(
    {
        "files.upload",
        "jobs.create",
        "yolo.detect",
        "face_swap.swap",
        "admin_faces.add_picture",
        "own_models.upload",
    }
)
INLINE = frozenset(
    {"jobs.create", "quotes.quote", "estimates.create", "batches.create", "yolo.detect"}
)


class StrictRequest(Request):
    """A request whose JSON goes through the strict loader, whoever asks for it."""

    _document: dict[str, Any] | None = None

    def get_json(
        self,
        force: bool = False,  # noqa: FBT001, FBT002, ARG002 - werkzeug's signature
        silent: bool = False,  # noqa: FBT001, FBT002, ARG002 - werkzeug's signature
        cache: bool = True,  # noqa: FBT001, FBT002, ARG002 - werkzeug's signature
    ) -> dict[str, Any]:
        """The body as a JSON object; raises ``InvalidRequestError``."""
        if self._document is None:
            if not self.is_json:
                detail = (
                    f"This address takes application/json, not {self.mimetype or 'an unnamed type'}"
                    ". Set the Content-Type header."
                )
                raise InvalidRequestError(detail, code="unsupported_media_type", status=415)
            self._document = load_object(self.get_data(cache=False))
        return self._document


def body_limit_bytes(endpoint: str | None, mimetype: str, *, upload_bytes_max: int) -> int:
    """How many bytes the body of one request may have."""
    if endpoint in PIECES and mimetype == "application/offset+octet-stream":
        return upload_bytes_max
    if endpoint in UPLOADS and mimetype == "multipart/form-data":
        return upload_bytes_max + MULTIPART_OVERHEAD_BYTES
    if endpoint in RECHARGE_FILES and mimetype == "multipart/form-data":
        return RECHARGE_FILE_BYTES_MAX + MULTIPART_OVERHEAD_BYTES
    if endpoint in INLINE:
        return INLINE_JSON_BYTES_MAX
    return JSON_BYTES_MAX


def register_request_checks(app: Flask, *, upload_bytes_max: int) -> None:
    """Check every request before authentication; refusals are problems with their own codes."""

    @app.before_request
    def check() -> None:
        request.max_content_length = body_limit_bytes(
            request.endpoint, request.mimetype, upload_bytes_max=upload_bytes_max
        )
        if "\x00" in request.path:
            detail = "The path contains NUL (%00). Remove it."
            raise InvalidRequestError(detail, code="nul_character", status=400)
        if request.query_string:
            _check_query()


def _check_query() -> None:
    if b"%00" in request.query_string or b"\x00" in request.query_string:
        detail = "The query contains NUL (%00). Remove it."
        raise InvalidRequestError(detail, code="nul_character", status=400)
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        detail = f"The query parameter {repeated[0][:80]!r} is given twice. Send it once."
        raise InvalidRequestError(detail, code="duplicate_parameter", status=400)
    if request.endpoint is not None and not _declares_query(request.endpoint):
        name = next(iter(request.args), "")[:80]
        detail = f"This address takes no query parameters, but got {name!r}. Remove it."
        raise InvalidRequestError(detail, code="unknown_parameter", status=400)


def _declares_query(endpoint: str) -> bool:
    """Whether the view has a query model, which then refuses unknown names itself."""
    spec: Mapping[str, Any] = getattr(current_app.view_functions[endpoint], "_spec", {})
    return any(location == "query" for _, location in spec.get("args") or ())
