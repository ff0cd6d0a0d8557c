"""A tenant's model as its owner sees it. Pure."""

from datetime import UTC
from typing import Any

from app.weights.models import TenantModel


def own_model_view(row: TenantModel) -> dict[str, Any]:
    """The facts of one version."""
    return {
        "id": f"{row.name}@{row.version}",
        "object": "model",
        "engine": row.engine,
        "name": row.name,
        "version": str(row.version),
        "base": row.base,
        "licence": row.licence,
        "sha256": row.sha256,
        "bytes": row.bytes,
        "inputs": row.inputs,
        "confined_by": row.confined_by,
        "created_at": row.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
