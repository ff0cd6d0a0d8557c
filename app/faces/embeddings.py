"""Embeddings of a tenant's source faces: the only writer of their tables.

Kept for a week under a key of the tenant's own. Erasing deletes that key too, so that what the
database's files still hold of the rows is noise. A backup from before has the key as well, sealed
by the installation's, for as long as it is kept. Rows say neither which picture nor which model a
vector is of.
"""

import base64
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.faces.sealing import KEY_BYTES, VectorSeal
from app.secret_box import SecretBox, SecretError
from billing.audit import record

log = logging.getLogger(__name__)

LIFETIME: Final = timedelta(days=7)

_KEY = text("SELECT sealed FROM embedding_key WHERE tenant_id = :tenant_id")
# Locked, so that an erasure waits and then takes along what is written under the key.
_HELD_KEY = text("SELECT sealed FROM embedding_key WHERE tenant_id = :tenant_id FOR KEY SHARE")
_NEW_KEY = text(
    "INSERT INTO embedding_key (tenant_id, sealed) VALUES (:tenant_id, :sealed)"
    " ON CONFLICT DO NOTHING"
)
_FIND = text(
    "SELECT sealed FROM face_embedding WHERE tenant_id = :tenant_id AND place = :place"
    " AND expires_at > clock_timestamp()"
)
_KEEP = text(
    """
    INSERT INTO face_embedding (tenant_id, place, sealed, expires_at)
    VALUES (:tenant_id, :place, :sealed, clock_timestamp() + make_interval(secs => :lifetime_s))
    ON CONFLICT (tenant_id, place)
        DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at
    """
)
_COUNT = text(
    "SELECT count(*) AS kept, max(expires_at) AS until FROM face_embedding"
    " WHERE tenant_id = :tenant_id AND expires_at > clock_timestamp()"
)
_ERASE = text("DELETE FROM embedding_key WHERE tenant_id = :tenant_id")
_COUNT_ALL = text("SELECT count(*) FROM face_embedding WHERE tenant_id = :tenant_id")
_FORGET = text("DELETE FROM face_embedding WHERE expires_at <= clock_timestamp()")
_FORGET_KEYS = text(
    """
    DELETE FROM embedding_key k
    WHERE created_at < clock_timestamp() - make_interval(secs => :lifetime_s)
        AND NOT EXISTS (SELECT FROM face_embedding e WHERE e.tenant_id = k.tenant_id)
    """
)


@dataclass(frozen=True, slots=True)
class Kept:
    """How many embeddings of a tenant there are, and when the last of them goes."""

    count: int
    until: datetime | None


def find(
    session: Session, box: SecretBox, *, tenant_id: str, model: str, sha256: str
) -> NDArray[np.float32] | None:
    """The vector [D] kept for a content, if its time is not over."""
    sealed_key = session.scalar(_KEY, {"tenant_id": tenant_id})
    if sealed_key is None:
        return None
    try:
        seal = _seal(box, sealed_key)
        place = seal.place(model, sha256)
        sealed = session.scalar(_FIND, {"tenant_id": tenant_id, "place": place})
        return None if sealed is None else seal.open(sealed, place=place)
    except SecretError:
        log.warning("kept embeddings do not open with this secret key; they are made anew")
        return None


def keep(
    session: Session,
    box: SecretBox,
    *,
    tenant_id: str,
    model: str,
    sha256: str,
    vector: NDArray[np.float32],
) -> None:
    """Keep a vector [D] for a week; one of the same content is replaced."""
    seal = _own_seal(session, box, tenant_id)
    place = seal.place(model, sha256)
    session.execute(
        _KEEP,
        {
            "tenant_id": tenant_id,
            "place": place,
            "sealed": seal.close(vector, place=place),
            "lifetime_s": LIFETIME.total_seconds(),
        },
    )


def count(session: Session, *, tenant_id: str) -> Kept:
    """What is kept of a tenant's faces."""
    row = session.execute(_COUNT, {"tenant_id": tenant_id}).one()
    return Kept(row.kept, row.until)


def erase(session: Session, *, tenant_id: str, actor: str, now: datetime) -> int:
    """Make every embedding of a tenant unreadable and delete it; returns how many there were.

    In the audit log, by whom.
    """
    erased: int = session.execute(_COUNT_ALL, {"tenant_id": tenant_id}).scalar_one()
    session.execute(_ERASE, {"tenant_id": tenant_id})
    detail = {"erased": erased}
    record(
        session, actor=actor, action="embeddings.erase", subject=tenant_id, detail=detail, now=now
    )
    return erased


def forget_old(session: Session) -> int:
    """Delete what is older than a week, and keys that nothing lies under; returns how many."""
    gone = session.execute(_FORGET).rowcount  # type: ignore[attr-defined]
    session.execute(_FORGET_KEYS, {"lifetime_s": LIFETIME.total_seconds()})
    return int(gone)


def _own_seal(session: Session, box: SecretBox, tenant_id: str) -> VectorSeal:
    """The tenant's seal, made at its first use, and again where the old one opens no more."""
    sealed = session.scalar(_HELD_KEY, {"tenant_id": tenant_id})
    if sealed is not None:
        try:
            return _seal(box, sealed)
        except SecretError:
            session.execute(_ERASE, {"tenant_id": tenant_id})
    text_ = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    session.execute(_NEW_KEY, {"tenant_id": tenant_id, "sealed": box.encrypt(text_)})
    return _seal(box, session.execute(_HELD_KEY, {"tenant_id": tenant_id}).scalar_one())


def _seal(box: SecretBox, sealed_key: bytes) -> VectorSeal:
    return VectorSeal(base64.b64decode(box.decrypt(sealed_key)))
