"""A file row as the public File object of ``/v1``. Pure."""

from datetime import datetime
from typing import Any

from app.files.links import LinkSigner
from app.files.models import File
from app.timestamps import rfc3339


def file_view(file: File, *, links: LinkSigner, now: datetime) -> dict[str, Any]:
    """Render a file with a link to its content that works for 15 minutes."""
    return {
        "id": file.id,
        "object": "file",
        "purpose": file.purpose,
        "name": file.name,
        "media_type": file.media_type,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "width": file.width,
        "height": file.height,
        "duration_s": file.duration_s,
        "frames": file.frames,
        "fps": file.fps,
        "url": links.content_url(file_id=file.id, tenant_id=file.tenant_id, now=now),
        "created_at": rfc3339(file.created_at),
        "expires_at": rfc3339(file.expires_at),
    }
