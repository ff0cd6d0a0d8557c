"""Uploads whose time is over."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.storage import Storage
from app.uploads.models import Upload
from app.uploads.service import forget_bytes

# A request that writes when an upload expires may finish its piece.
GRACE: Final = timedelta(minutes=10)


def collect_expired_uploads(
    session: Session, storage: Storage, now: datetime, *, limit: int
) -> int:
    """Delete up to ``limit`` expired uploads with what has arrived of them; returns how many.

    A file that one became stays. Should the caller's commit fail, they go the next time.
    """
    due = session.scalars(
        select(Upload)
        .where(Upload.expires_at < now - GRACE)
        .order_by(Upload.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for upload in due:
        if upload.status == "receiving":
            forget_bytes(storage, upload)
        session.delete(upload)
    return len(due)
