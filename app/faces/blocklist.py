"""Faces that nobody may use as a source: the only writer of their table, and the judge.

A face is blocked for the embedder that saw it: vectors of two embedders have nothing in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidRequestError, NotFoundError
from app.faces.models import BlockedFace
from app.faces.sealing import VectorSeal
from app.ids import new_id
from app.jobs.result_cache import forget_with_sources
from app.secret_box import SecretBox
from billing.audit import record

# The same person is above 0.5 for the embedders that are supported, others are below 0.3.
THRESHOLD: Final = 0.5
THRESHOLD_MIN: Final = 0.2  # below it everybody is somebody else's double
LENGTHS: Final = range(32, 4097)  # of a vector
TEXT_LENGTH_MAX: Final = 500
MODEL_LENGTH_MAX: Final = 128

Vector = NDArray[np.float32]

_REVISION = text(
    "SELECT count(*) || '/' || coalesce(max(id), '') FROM blocked_face WHERE model = :model"
)


@dataclass(frozen=True, slots=True, eq=False)
class Blocked:
    """The blocked faces of one embedder, ready to be compared with."""

    revision: str  # another one: the list changed
    directions: Vector  # [N, D], of length 1
    thresholds: Vector  # [N]

    def holds(self, vector: Vector) -> bool:
        """Whether a face [D] is one of them.

        Raises:
            ValueError: the list is of vectors of another length, so nothing can be said.
        """
        length = float(np.linalg.norm(vector))
        if not len(self.directions) or length == 0:
            return False
        if len(vector) != self.directions.shape[1]:
            message = f"blocked faces have {self.directions.shape[1]} numbers, not {len(vector)}"
            raise ValueError(message)
        likeness = self.directions @ (vector.astype(np.float32) / length)
        return bool((likeness >= self.thresholds).any())


def block(
    session: Session,
    box: SecretBox,
    *,
    model: str,
    vector: Sequence[float] | Vector,
    reason: str,
    threshold: float = THRESHOLD,
    actor: str,
    now: datetime,
) -> BlockedFace:
    """Refuse a face from the next run on.

    Args:
        session: of the caller, who commits.
        box: of this installation.
        model: the embedder's name that made the vector, as results name it.
        vector: [D], of any length but zero.
        reason: why, for other operators.
        threshold: cosine from which on a face counts as this one.
        actor: who, for the audit log; the vector does not go there.
        now: when.

    Raises:
        InvalidRequestError: code ``invalid_face``, or ``reason_missing``.
    """
    checked = _checked(session, box, model=model, vector=vector, threshold=threshold)
    if not 0 < len(reason.strip()) <= TEXT_LENGTH_MAX:
        detail = f"Give a reason of 1 to {TEXT_LENGTH_MAX} characters."
        raise InvalidRequestError(
            detail, code="reason_missing", errors=[FieldError("/reason", detail)]
        )
    face_id = new_id("face")
    face = BlockedFace(
        id=face_id,
        model=model,
        sealed=_seal(box).close(checked, place=_place(face_id, model)),
        threshold=threshold,
        reason=reason.strip(),
        added_by=actor,
        created_at=now,
    )
    session.add(face)
    session.flush()
    forget_with_sources(session)  # a copy of an earlier result is looked at by nobody
    detail_ = {"model": model, "threshold": threshold, "reason": face.reason}
    record(session, actor=actor, action="face.block", subject=face_id, detail=detail_, now=now)
    return face


def unblock(session: Session, *, face_id: str, actor: str, now: datetime) -> None:
    """Let a face through again and delete its vector; raises code ``face_not_found``."""
    gone = session.scalar(
        delete(BlockedFace).where(BlockedFace.id == face_id).returning(BlockedFace.model)
    )
    if gone is None:
        raise NotFoundError("There is no such blocked face.", code="face_not_found")
    detail = {"model": gone}
    record(session, actor=actor, action="face.unblock", subject=face_id, detail=detail, now=now)


def blocked_faces(session: Session, *, limit: int, after: str | None = None) -> list[BlockedFace]:
    """One page, newest first; ``after`` is the last id of the page before."""
    statement = select(BlockedFace).order_by(BlockedFace.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(BlockedFace.id < after)
    return list(session.scalars(statement))


def still_blocked(session: Session, *, face_ids: Sequence[str]) -> list[BlockedFace]:
    """Those of some faces that were not let through again, in the same order."""
    rows = session.scalars(select(BlockedFace).where(BlockedFace.id.in_(face_ids)))
    found = {face.id: face for face in rows}
    return [found[face_id] for face_id in face_ids if face_id in found]


def is_any_blocked(session: Session) -> bool:
    """Whether the list has a face, for whatever embedder."""
    return session.scalar(select(BlockedFace.id).limit(1)) is not None


def load(session: Session, box: SecretBox, *, model: str, known: Blocked | None = None) -> Blocked:
    """The faces blocked for an embedder; ``known`` itself as long as it is still true.

    Raises:
        SecretError: they were written under another secret key.
    """
    revision: str = session.execute(_REVISION, {"model": model}).scalar_one()
    if known is not None and known.revision == revision:
        return known
    faces = session.scalars(select(BlockedFace).where(BlockedFace.model == model)).all()
    seal = _seal(box)
    vectors = [seal.open(face.sealed, place=_place(face.id, model)) for face in faces]
    directions = np.array([each / np.linalg.norm(each) for each in vectors], dtype=np.float32)
    thresholds = np.array([face.threshold for face in faces], dtype=np.float32)
    return Blocked(revision, directions, thresholds)


def _checked(
    session: Session,
    box: SecretBox,
    *,
    model: str,
    vector: Sequence[float] | Vector,
    threshold: float,
) -> Vector:
    wrong = []
    with np.errstate(over="ignore"):
        plain = np.asarray(vector, dtype=np.float32)
    if plain.ndim != 1 or len(plain) not in LENGTHS:
        wrong.append(FieldError("/vector", f"{LENGTHS.start} to {LENGTHS.stop - 1} numbers"))
    elif not np.isfinite(plain).all() or not np.linalg.norm(plain) > 0:
        wrong.append(FieldError("/vector", "finite numbers, not all of them zero"))
    if not 0 < len(model) <= MODEL_LENGTH_MAX or not model.isprintable():
        wrong.append(FieldError("/model", "the embedder's name, as results tell it"))
    if not THRESHOLD_MIN <= threshold <= 1:
        wrong.append(FieldError("/threshold", f"{THRESHOLD_MIN} to 1"))
    if not wrong:
        others = load(session, box, model=model).directions
        if len(others) and others.shape[1] != len(plain):
            wrong.append(FieldError("/vector", f"{others.shape[1]} numbers, as others of {model}"))
    if wrong:
        detail = f"The face cannot be blocked: {wrong[0].pointer} must be {wrong[0].detail}."
        raise InvalidRequestError(detail, code="invalid_face", errors=wrong)
    return plain


def _seal(box: SecretBox) -> VectorSeal:
    return VectorSeal(box.derive("blocked faces"))


def _place(face_id: str, model: str) -> bytes:
    return f"{face_id}\n{model}".encode()
