"""Faces that nobody may use: compared by direction, sealed at rest, each change in the log."""

from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import InvalidRequestError, NotFoundError
from app.faces.blocklist import block, blocked_faces, load, unblock
from app.secret_box import SecretBox, SecretError

BOX = SecretBox("a secret of these tests, long enough")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
MODEL = "mobilefacenet@1"


def direction(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=128).astype(np.float32)


def near(vector: np.ndarray, cosine: float) -> np.ndarray:
    """A vector at this cosine to another one, of another length."""
    unit = vector / np.linalg.norm(vector)
    across = direction(99)
    across -= unit * (across @ unit)
    across /= np.linalg.norm(across)
    return (7.5 * (cosine * unit + np.sqrt(1 - cosine**2) * across)).astype(np.float32)


def add(session: Session, vector=None, *, model=MODEL, reason="asked for", **fields):
    face = direction(1) if vector is None else vector
    return block(
        session, BOX, model=model, vector=face, reason=reason, actor="bob", now=NOW, **fields
    )


def test_a_face_like_a_blocked_one_is_held(session):
    add(session)
    blocked = load(session, BOX, model=MODEL)
    held = {cosine: blocked.holds(near(direction(1), cosine)) for cosine in (1, 0.51, 0.49, -1)}
    assert held == {1: True, 0.51: True, 0.49: False, -1: False}


def test_each_face_has_its_own_threshold(session):
    add(session, direction(1), threshold=0.8)
    add(session, direction(2), threshold=0.3)
    blocked = load(session, BOX, model=MODEL)
    assert not blocked.holds(near(direction(1), 0.7))
    assert blocked.holds(near(direction(2), 0.35))


def test_faces_of_another_embedder_say_nothing(session):
    add(session)
    assert not load(session, BOX, model="other@1").holds(direction(1))


def test_a_list_of_vectors_of_another_length_is_an_error_and_not_a_pass(session):
    add(session)
    with pytest.raises(ValueError, match="128 numbers, not 512"):
        load(session, BOX, model=MODEL).holds(np.ones(512, dtype=np.float32))


def test_what_was_opened_is_kept_until_the_list_changes(session):
    first = add(session)
    known = load(session, BOX, model=MODEL)
    assert load(session, BOX, model=MODEL, known=known) is known
    second = add(session, direction(2))
    after_adding = load(session, BOX, model=MODEL, known=known)
    assert after_adding.holds(direction(2))
    unblock(session, face_id=first.id, actor="bob", now=NOW)
    after_removing = load(session, BOX, model=MODEL, known=after_adding)
    assert not after_removing.holds(direction(1))
    unblock(session, face_id=second.id, actor="bob", now=NOW)
    add(session, direction(3))  # as many as before
    assert load(session, BOX, model=MODEL, known=after_removing).holds(direction(3))


def test_the_vector_is_sealed_and_the_log_names_who_and_why_without_it(session):
    face = add(session)
    stored = bytes(session.execute(text("SELECT sealed FROM blocked_face")).scalar_one())
    assert direction(1)[:2].tobytes() not in stored
    unblock(session, face_id=face.id, actor="eve", now=NOW)
    rows = session.execute(
        text("SELECT actor, action, subject, detail FROM billing.audit_action ORDER BY id")
    ).all()
    assert [tuple(row) for row in rows] == [
        ("bob", "face.block", face.id, {"model": MODEL, "threshold": 0.5, "reason": "asked for"}),
        ("eve", "face.unblock", face.id, {"model": MODEL}),
    ]
    assert session.execute(text("SELECT count(*) FROM blocked_face")).scalar_one() == 0


def test_under_another_secret_key_the_list_is_an_error_and_not_empty(session):
    add(session)
    with pytest.raises(SecretError):
        load(session, SecretBox("another secret of these tests"), model=MODEL)


def test_pages_come_newest_first(session):
    ids = [add(session, direction(n)).id for n in range(3)]
    assert [each.id for each in blocked_faces(session, limit=2)] == ids[:0:-1]
    assert [each.id for each in blocked_faces(session, limit=2, after=ids[1])] == ids[:1]


WRONG = [
    ({"vector": [1.0] * 31}, "/vector"),
    ({"vector": [1.0] * 5000}, "/vector"),
    ({"vector": [[1.0] * 64] * 2}, "/vector"),
    ({"vector": [0.0] * 128}, "/vector"),
    ({"vector": [float("nan")] + [1.0] * 127}, "/vector"),
    ({"vector": [1e300] * 128}, "/vector"),
    ({"model": ""}, "/model"),
    ({"model": "a\nb"}, "/model"),
    ({"threshold": 0.1}, "/threshold"),
    ({"threshold": 1.1}, "/threshold"),
    ({"threshold": float("nan")}, "/threshold"),
]


def test_what_is_no_face_is_refused(session):
    for fields, pointer in WRONG:
        with pytest.raises(InvalidRequestError) as refused:
            add(session, **fields)
        assert (refused.value.code, refused.value.errors[0].pointer) == ("invalid_face", pointer)


def test_a_vector_of_another_length_than_the_others_is_refused(session):
    add(session)
    with pytest.raises(InvalidRequestError, match="128 numbers"):
        add(session, np.ones(512, dtype=np.float32))
    add(session, np.ones(512, dtype=np.float32), model="other@1")


def test_a_reason_has_to_be_given(session):
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(InvalidRequestError) as refused:
            add(session, reason=reason)
        assert refused.value.code == "reason_missing"


def test_an_unknown_face_cannot_be_let_through(session):
    with pytest.raises(NotFoundError) as refused:
        unblock(session, face_id="face_unknown", actor="bob", now=NOW)
    assert refused.value.code == "face_not_found"
