"""A tenant, a folder and pictures for the tests of files."""

import io
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.storage import FileStorage


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "storage")


@pytest.fixture
def tenants(session: Session) -> tuple[str, str]:
    """Two tenants without wallets: files cost nothing."""
    for number in (1, 2):
        session.execute(
            text(
                "INSERT INTO tenant (id, name, tenant_group, zone, mode, consent_mode, weight,"
                " max_in_flight, webhook_secret)"
                " VALUES (:id, :id, 'free', 'UTC', 'prepaid', 'request', 1, 1, '')"
            ),
            {"id": f"ten_{number}"},
        )
    session.commit()
    return "ten_1", "ten_2"


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A real photograph as PNG, 512x512."""
    from PIL import Image
    from skimage import data

    target = io.BytesIO()
    Image.fromarray(np.asarray(data.astronaut())).save(target, "PNG")
    return target.getvalue()
