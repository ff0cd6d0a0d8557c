"""What may no longer be kept goes; what is still needed stays."""

import io
import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.files.collection import collect_expired
from app.files.models import File
from app.files.service import ingest
from app.storage import FileStorage
from engines.spec import MediaInfo, MediaKind

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
INFO = MediaInfo(kind=MediaKind.IMAGE, media_type="image/png", bytes=4, width=2, height=3)


def _file(session: Session, storage: FileStorage, tenant_id: str) -> File:
    return ingest(
        session,
        storage,
        tenant_id=tenant_id,
        stream=io.BytesIO(b"data"),
        name="a.png",
        max_bytes=100,
        probe=lambda path: INFO,
        now=NOW,
    )


def _queue(session: Session, tenant_id: str, inputs: dict[str, object]) -> None:
    session.execute(
        text(
            "INSERT INTO job (id, tenant_id, api_key_id, engine, model, params, inputs, priority,"
            " status, metadata, consent, quote, hold_id, estimated_ms, attempt, progress_done,"
            " progress_total, progress_unit, event_sequence)"
            " VALUES ('job_1', :tenant_id, 'key_1', 'detect', 'm@1', '{}', CAST(:inputs AS jsonb),"
            " 'nightly', 'queued', '{}', false, '{}', 'hold_1', 1, 0, 0, 0, '', 0)"
        ),
        {"tenant_id": tenant_id, "inputs": json.dumps(inputs)},
    )


def test_expired_files_go_with_their_objects(
    session: Session, storage: FileStorage, tenants: tuple[str, str]
) -> None:
    file = _file(session, storage, tenants[0])
    session.commit()
    assert collect_expired(session, storage, NOW + timedelta(hours=24)) == 0
    assert collect_expired(session, storage, NOW + timedelta(hours=24, minutes=11)) == 1
    session.commit()
    assert session.scalars(select(File)).all() == []
    assert not storage.path(file.storage_key).exists()


def test_inputs_of_a_job_that_still_waits_stay(
    session: Session, storage: FileStorage, tenants: tuple[str, str]
) -> None:
    target, source, other = (_file(session, storage, tenants[0]) for _ in range(3))
    _queue(session, tenants[0], {"target": target.id, "source": [source.id]})
    session.commit()
    later = NOW + timedelta(days=3)
    assert collect_expired(session, storage, later) == 1
    assert not storage.path(other.storage_key).exists()
    session.execute(text("UPDATE job SET status = 'canceled', finished_at = now()"))
    assert collect_expired(session, storage, later) == 2
