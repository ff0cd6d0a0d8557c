"""Embeddings of source faces: kept for a week, sealed per tenant, unreadable once erased."""

from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.faces import embeddings
from app.secret_box import SecretBox
from app.tenants.service import create_tenant

BOX = SecretBox("a secret of these tests, long enough")
MODEL, CONTENT = "net@1/yunet", "ab" * 32
FACE = np.linspace(-1, 1, 128, dtype=np.float32)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def tenant(session: Session) -> str:
    return create_tenant(session, name="acme", box=BOX).id


@pytest.fixture
def other(session: Session) -> str:
    return create_tenant(session, name="other", box=BOX).id


def keep(session: Session, tenant: str, vector=FACE, *, box=BOX, model=MODEL, content=CONTENT):
    embeddings.keep(session, box, tenant_id=tenant, model=model, sha256=content, vector=vector)


def find(session: Session, tenant: str, *, box=BOX, model=MODEL, content=CONTENT):
    return embeddings.find(session, box, tenant_id=tenant, model=model, sha256=content)


def age(session: Session, days: float) -> None:
    session.execute(
        text("UPDATE face_embedding SET expires_at = expires_at - make_interval(secs => :s)"),
        {"s": days * 86_400},
    )
    session.execute(
        text("UPDATE embedding_key SET created_at = created_at - make_interval(secs => :s)"),
        {"s": days * 86_400},
    )


def everything(session: Session) -> bytes:
    """All that the tables hold, as one text."""
    parts = [
        repr(tuple(bytes(v) if isinstance(v, memoryview) else v for v in row))
        for table in ("embedding_key", "face_embedding")
        for row in session.execute(text(f"SELECT * FROM {table}"))
    ]
    return "".join(parts).encode()


def test_what_was_kept_is_found_to_the_bit(session, tenant):
    assert find(session, tenant) is None
    keep(session, tenant)
    found = find(session, tenant)
    assert found.dtype == np.float32
    assert (found == FACE).all()


@pytest.mark.parametrize("wrong", [{"model": "net@2/yunet"}, {"content": "cd" * 32}])
def test_another_content_or_model_is_another_face(session, tenant, wrong):
    keep(session, tenant)
    assert find(session, tenant, **wrong) is None


def test_no_tenant_meets_the_face_of_another(session, tenant, other):
    keep(session, tenant)
    assert find(session, other) is None
    keep(session, other, -FACE)
    assert (find(session, tenant) == FACE).all()
    assert (find(session, other) == -FACE).all()


def test_the_newest_vector_of_a_content_counts(session, tenant):
    keep(session, tenant)
    keep(session, tenant, FACE * 2)
    assert (find(session, tenant) == FACE * 2).all()
    assert embeddings.count(session, tenant_id=tenant).count == 1


def test_after_a_week_it_is_not_found_and_then_it_is_gone(session, tenant):
    keep(session, tenant)
    age(session, 6.99)
    assert find(session, tenant) is not None
    assert embeddings.forget_old(session) == 0
    age(session, 0.02)
    assert find(session, tenant) is None
    assert embeddings.count(session, tenant_id=tenant).count == 0
    assert embeddings.forget_old(session) == 1
    assert everything(session) == b""  # nor is a key left that nothing lies under


def test_neither_the_vector_nor_what_it_is_of_stands_in_the_tables(session, tenant):
    keep(session, tenant)
    stored = everything(session)
    for canary in (
        FACE.tobytes(),
        FACE[:2].tobytes(),
        CONTENT.encode(),
        bytes.fromhex(CONTENT),
        MODEL.encode(),
    ):
        assert repr(canary).encode()[2:-1] not in stored
        assert canary.hex().encode() not in stored
    assert len(stored) > 500


def test_two_equal_faces_look_different_at_rest(session, tenant, other):
    keep(session, tenant)
    keep(session, other)
    rows = session.execute(text("SELECT place, sealed FROM face_embedding")).all()
    assert len({bytes(row.place) for row in rows}) == len({bytes(row.sealed) for row in rows}) == 2


def test_an_erased_tenant_has_nothing_and_its_old_rows_open_no_more(session, tenant, other):
    keep(session, tenant)
    keep(session, tenant, content="cd" * 32)
    keep(session, other)
    copied = session.execute(
        text("SELECT * FROM face_embedding WHERE tenant_id = :t"), {"t": tenant}
    ).all()
    assert embeddings.erase(session, tenant_id=tenant, actor="key_1", now=NOW) == 2
    assert find(session, tenant) is None
    assert find(session, other) is not None
    # Somebody puts a copy of the rows back: the key they were sealed with is gone.
    keep(session, tenant, content="ef" * 32)
    for row in copied:
        session.execute(
            text("INSERT INTO face_embedding VALUES (:tenant_id, :place, :sealed, :expires_at)"),
            dict(row._mapping),
        )
    assert find(session, tenant) is None
    seal = embeddings._own_seal(session, BOX, tenant)
    for row in copied:
        with pytest.raises(Exception, match="does not open"):
            seal.open(row.sealed, place=bytes(row.place))


def test_an_erasure_is_in_the_audit_log(session, tenant):
    keep(session, tenant)
    embeddings.erase(session, tenant_id=tenant, actor="bob", now=NOW)
    embeddings.erase(session, tenant_id=tenant, actor="bob", now=NOW)  # twice is fine
    rows = session.execute(
        text("SELECT actor, subject, detail FROM billing.audit_action ORDER BY id")
    ).all()
    assert [tuple(row) for row in rows] == [
        ("bob", tenant, {"erased": 1}),
        ("bob", tenant, {"erased": 0}),
    ]


def test_faces_go_with_their_tenant(session, tenant):
    keep(session, tenant)
    session.execute(text("DELETE FROM tenant WHERE id = :t"), {"t": tenant})
    assert everything(session) == b""


def test_under_another_secret_key_faces_are_made_anew(session, tenant):
    keep(session, tenant)
    changed = SecretBox("another secret of these tests")
    assert find(session, tenant, box=changed) is None
    keep(session, tenant, FACE * 3, box=changed)
    assert (find(session, tenant, box=changed) == FACE * 3).all()
    assert embeddings.count(session, tenant_id=tenant).count == 1


def test_a_row_moved_to_another_place_does_not_open(session, tenant):
    keep(session, tenant)
    keep(session, tenant, -FACE, content="cd" * 32)
    session.execute(
        text("UPDATE face_embedding SET sealed = (SELECT min(sealed) FROM face_embedding)")
    )
    found = [find(session, tenant), find(session, tenant, content="cd" * 32)]
    assert sum(each is None for each in found) == 1
