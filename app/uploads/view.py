"""An upload as the public object of ``/v1``. Pure."""

from typing import Any

from app.timestamps import rfc3339
from app.uploads.models import Upload


def upload_view(upload: Upload) -> dict[str, Any]:
    """Render an upload; ``file`` is the id of what it became."""
    error = upload.error
    return {
        "id": upload.id,
        "object": "upload",
        "status": upload.status,
        "name": upload.name,
        "bytes": upload.total,
        "received": upload.received,
        "file": upload.file_id,
        "error": error and {"code": error["code"], "detail": error["detail"]},
        "created_at": rfc3339(upload.created_at),
        "expires_at": rfc3339(upload.expires_at),
    }
