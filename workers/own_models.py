"""The model of a job: the platform's, or the tenant's own brought to this machine."""

import tempfile
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.jobs.record import Claimed
from app.weights.models import TenantModel
from app.weights.service import as_version
from engines.errors import InvalidInputError
from engines.foreign.opening import FOREIGN_FOLDER
from engines.manifest import ModelVersion
from workers.services import Services
from workers.storing import at_hand
from workers.work_folders import work_root


def model_of(services: Services, claimed: Claimed) -> ModelVersion:
    """What the job runs on.

    A tenant's weights are copied from storage at their first job on this machine, under their
    sha256, into the folder whose files are only ever opened in a confined process.

    Raises:
        InvalidInputError: ``unknown_model``, or ``model_gone`` when the tenant deleted it.
    """
    if claimed.tenant_model_id is None:
        return services.registry.resolve(claimed.engine, claimed.model)
    with services.relaxed() as session:
        row = session.get(TenantModel, claimed.tenant_model_id)
    if row is None or row.deleted_at is not None or row.tenant_id != claimed.tenant_id:
        message = f"{claimed.model} was deleted before the job ran. Upload it again."
        raise InvalidInputError(message, code="model_gone")
    model = as_version(row, services.registry.resolve(row.engine, row.base))
    if not services.registry.available(model):
        _bring(services, row, model)
    services.retirement.used_own(services.registry.weights_path(model))
    return model


def _bring(services: Services, row: TenantModel, model: ModelVersion) -> None:
    with at_hand(), tempfile.TemporaryDirectory(dir=work_root(services)) as folder:
        try:
            path = services.storage.local(row.storage_key, Path(folder))
        except FileNotFoundError:
            message = f"The weights of {row.name} are no longer stored. Upload them again."
            raise InvalidInputError(message, code="model_gone") from None
        services.registry.adopt(path, model)


def collect_own_weights(session: Session, store: Path) -> int:
    """Delete this machine's copies of weights that no tenant has any more; returns how many."""
    copies = list((store / FOREIGN_FOLDER).glob("*.onnx"))
    alive = select(TenantModel.sha256).where(
        TenantModel.deleted_at.is_(None), TenantModel.sha256.in_([path.stem for path in copies])
    )
    kept = set(session.scalars(alive)) if copies else set()
    dead = [path for path in copies if path.stem not in kept]
    for path in dead:
        path.unlink(missing_ok=True)
    return len(dead)
