"""``Idempotency-Key`` on the addresses that create something other than a job.

The key is bound to the resource in the transaction that makes it, so two requests with one key can
never both commit; the second answers with what the first made. Jobs do the same inside their own
statement (``app.jobs.service``), in the same table: one key is one request, whatever it made.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import request
from sqlalchemy import text
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

from app.errors import ConflictError
from app.jobs.idempotency import Idempotency

HEADER = "Idempotency-Key"
CHUNK_BYTES = 1024 * 1024

_BIND = text(
    "INSERT INTO idempotency_key (tenant_id, key, fingerprint, resource_id)"
    " VALUES (:owner, :key, :fingerprint, :resource_id) ON CONFLICT DO NOTHING"
    " RETURNING resource_id"
)
_BOUND = text(
    "SELECT fingerprint, resource_id FROM idempotency_key WHERE tenant_id = :owner AND key = :key"
)


def requested(
    document: Mapping[str, Any], *, parts: Sequence[FileStorage] = ()
) -> Idempotency | None:
    """The caller's key for the request at hand, or None when it sent none.

    ``document`` is the JSON of the request and ``parts`` are the files beside it, which are read
    and put back to their start.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    content = [[part.name, _sha256(part)] for part in parts]
    body = json.dumps([document, content], sort_keys=True).encode()
    return Idempotency.of(key, method=request.method, path=request.path, body=body)


def _sha256(part: FileStorage) -> str:
    digest = hashlib.sha256()
    while chunk := part.stream.read(CHUNK_BYTES):
        digest.update(chunk)
    part.stream.seek(0)
    return digest.hexdigest()


def earlier_resource(
    session: Session, *, owner: str, idempotency: Idempotency | None
) -> str | None:
    """The id of what an earlier request with this key made; None when there was none.

    Raises:
        ConflictError: code ``idempotency_mismatch``; the key was used for another request.
    """
    if idempotency is None:
        return None
    who = {"owner": owner, "key": idempotency.key}
    row = session.execute(_BOUND, who).one_or_none()
    if row is None:
        return None
    if row.fingerprint != idempotency.fingerprint:
        raise ConflictError(
            "This Idempotency-Key was used for a different request. "
            "Send a new key, or the first request again.",
            code="idempotency_mismatch",
        )
    return str(row.resource_id)


def bind(
    session: Session, *, owner: str, idempotency: Idempotency | None, resource_id: str
) -> None:
    """Bind the key to the new resource; the last statement before the commit.

    Raises:
        ConflictError: code ``idempotency_in_progress``; a request with this key was quicker by a
            moment. Everything is rolled back; the same request again answers with its resource.
    """
    if idempotency is None:
        return
    values = {
        "owner": owner,
        "key": idempotency.key,
        "fingerprint": idempotency.fingerprint,
        "resource_id": resource_id,
    }
    if session.execute(_BIND, values).one_or_none() is None:
        problem = ConflictError(
            "Another request with this Idempotency-Key was handled at the same time. "
            "Send it again to get its answer.",
            code="idempotency_in_progress",
            retry_after_s=1,
        )
        problem.retryable = True
        raise problem
