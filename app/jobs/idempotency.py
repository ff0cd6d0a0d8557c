"""The promise behind ``Idempotency-Key``: two requests with one key are one request."""

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import ConflictError, InvalidRequestError
from app.jobs.record import JobRow, one_row

KEY_LENGTH_MAX: Final = 255

_KNOWN = text(
    "SELECT idempotency_key.fingerprint AS known_fingerprint, job.* FROM idempotency_key"
    " LEFT JOIN job ON job.id = idempotency_key.resource_id"
    " WHERE idempotency_key.tenant_id = :tenant_id AND idempotency_key.key = :key"
)


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key and the fingerprint of what it sent with it."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str, *, method: str, path: str, body: bytes) -> Self:
        """Check the key and take the fingerprint of a request.

        ``body`` is any faithful form of what was asked: the JSON as sent, or for a multipart body
        its JSON part with the SHA-256 of each file.
        """
        if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
            raise InvalidRequestError(
                f"Idempotency-Key must be 1 to {KEY_LENGTH_MAX} printable ASCII characters; "
                "a random UUID is a good one.",
                code="invalid_idempotency_key",
            )
        digest = hashlib.sha256(f"{method} {path}\n".encode())
        digest.update(body)
        return cls(key=key, fingerprint=digest.hexdigest())


def find_replay(session: Session, *, tenant_id: str, idempotency: Idempotency) -> JobRow | None:
    """The job that this key already made; None when it made none.

    Raises:
        ConflictError: code ``idempotency_mismatch``; the key was used for another request.
    """
    row = one_row(session.execute(_KNOWN, {"tenant_id": tenant_id, "key": idempotency.key}))
    if row is None:
        return None
    if row["known_fingerprint"] != idempotency.fingerprint:
        raise ConflictError(
            "This Idempotency-Key was used for a different request. "
            "Send a new key, or the first request again.",
            code="idempotency_mismatch",
        )
    if row["id"] is None:  # the key made something else, such as a file
        return None
    return {name: value for name, value in row.items() if name != "known_fingerprint"}
