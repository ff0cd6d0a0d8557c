"""Tenants' own models: the only writer of their table.

The weights are tried before a row exists (``engines.trial``). A deleted version keeps its row, so
that its number is not given again; its bytes go at once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.catalog.service import Catalog
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError
from app.files.service import copy_bounded
from app.ids import new_id
from app.storage import Storage
from app.weights.models import TenantModel
from engines.errors import EngineError
from engines.foreign.signature import BYTES_MAX
from engines.manifest import ModelVersion
from engines.trial import Tried, foreign_model, try_weights

MODELS_MAX: Final = 20  # per tenant, deleted ones not counted
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True)
class WeightsOffer:
    """What a tenant says of a file."""

    engine: str
    name: str
    base: str  # the shipped model whose contract it follows
    licence: str = ""
    sha256: str | None = None  # refuse other bytes


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A tenant's model as the catalog and the engines know models."""

    id: str
    version: ModelVersion


def take_in(
    session: Session,
    storage: Storage,
    catalog: Catalog,
    *,
    tenant_id: str,
    stream: BinaryIO,
    offer: WeightsOffer,
    now: datetime,
) -> TenantModel:
    """Try a file and keep it as the next version of the tenant's model of that name.

    Hold no locks when calling: the trial takes seconds.

    Raises:
        InvalidRequestError: the file is refused, each reason with its own code.
        ConflictError: ``name_taken`` or ``too_many_models``.
        TooLargeError: ``file_too_large``.
    """
    base = _check_offer(catalog, offer)
    with storage.scratch() as path:
        sha256, size = copy_bounded(stream, path, max_bytes=BYTES_MAX)
        if offer.sha256 is not None and offer.sha256.lower() != sha256:
            detail = f"The file has the sha256 {sha256}, not the one given. Send it again."
            raise InvalidRequestError(detail, code="weights_corrupt")
        tried = _tried(path.read_bytes(), offer, base, sha256)
        version = _next_version(session, tenant_id, offer.name)
        key = storage.put_file(path, move=True)
    model = TenantModel(
        id=new_id("mdl"),
        tenant_id=tenant_id,
        engine=offer.engine,
        name=offer.name,
        version=version,
        base=base.name,
        sha256=sha256,
        bytes=size,
        storage_key=key,
        licence=offer.licence,
        inputs=tried.inputs,
        confined_by=list(tried.holds),
        created_at=now,
    )
    try:
        session.add(model)
        session.flush()
    except BaseException:
        storage.delete(key)
        raise
    return model


def _check_offer(catalog: Catalog, offer: WeightsOffer) -> ModelVersion:
    if not _NAME.fullmatch(offer.name):
        detail = "A name has 1 to 64 lower-case letters, digits, dots and dashes."
        raise InvalidRequestError(detail, errors=[FieldError("/name", detail)])
    base = catalog.version(offer.engine, offer.base)
    if catalog.knows(offer.name):
        detail = f"{offer.name} is a model of this platform. Choose another name."
        raise ConflictError(detail, code="name_taken")
    return base


def _tried(content: bytes, offer: WeightsOffer, base: ModelVersion, sha256: str) -> Tried:
    try:
        return try_weights(content, engine=offer.engine, base=base, sha256=sha256)
    except EngineError as error:
        raise InvalidRequestError(error.detail, code=error.code) from error


def _next_version(session: Session, tenant_id: str, name: str) -> int:
    """Every version ever made counts; two uploads of one name at once meet the unique key."""
    mine = TenantModel.tenant_id == tenant_id
    living = select(func.count()).where(mine, TenantModel.deleted_at.is_(None))
    if session.scalars(living).one() >= MODELS_MAX:
        detail = f"A tenant keeps at most {MODELS_MAX} models. Delete one first."
        raise ConflictError(detail, code="too_many_models")
    newest = select(func.max(TenantModel.version)).where(mine, TenantModel.name == name)
    return (session.scalars(newest).one() or 0) + 1


def get(session: Session, *, tenant_id: str, model: str) -> TenantModel:
    """One living version by ``name`` (the newest) or ``name@version``; ``model_not_found``."""
    row = _find(session, tenant_id, model)
    if row is None:
        raise NotFoundError("There is no such model of yours.", code="model_not_found")
    return row


def remove(
    session: Session, storage: Storage, *, tenant_id: str, model: str, now: datetime
) -> TenantModel:
    """Delete a version: new jobs do not find it, waiting ones end with ``model_gone``."""
    row = get(session, tenant_id=tenant_id, model=model)
    row.deleted_at = now
    session.flush()
    storage.delete(row.storage_key)
    return row


def living(session: Session, *, tenant_id: str) -> Sequence[TenantModel]:
    """Every version of a tenant that can be called, newest first."""
    return session.scalars(
        select(TenantModel)
        .where(TenantModel.tenant_id == tenant_id, TenantModel.deleted_at.is_(None))
        .order_by(TenantModel.name, TenantModel.version.desc())
    ).all()


def own_versions(
    session: Session, catalog: Catalog, *, tenant_id: str
) -> dict[str, list[ModelVersion]]:
    """A tenant's models by engine, as the catalog describes models."""
    found: dict[str, list[ModelVersion]] = {}
    for row in living(session, tenant_id=tenant_id):
        version = as_version(row, catalog.version(row.engine, row.base))
        found.setdefault(row.engine, []).append(version)
    return found


def find_own(
    session: Session, catalog: Catalog, *, tenant_id: str, engine: str, model: str | None
) -> OwnModel | None:
    """The tenant's model that a request means; None when it means one of the platform's.

    The platform's names come first and can never be taken, so that a name means one thing.
    """
    if model is None or catalog.knows(model.partition("@")[0]):
        return None
    row = _find(session, tenant_id, model)
    if row is None or row.engine != engine:
        return None
    return OwnModel(row.id, as_version(row, catalog.version(engine, row.base)))


def as_version(row: TenantModel, base: ModelVersion) -> ModelVersion:
    """A row as an engine knows models. Pure."""
    return foreign_model(
        base,
        name=row.name,
        version=str(row.version),
        sha256=row.sha256,
        size=row.bytes,
        licence=row.licence,
        inputs=row.inputs,
    )


def _find(session: Session, tenant_id: str, model: str) -> TenantModel | None:
    name, _, version = model.partition("@")
    wanted = select(TenantModel).where(
        TenantModel.tenant_id == tenant_id,
        TenantModel.name == name,
        TenantModel.deleted_at.is_(None),
    )
    if version:
        if not (version.isdecimal() and version.isascii() and len(version) < 10):  # noqa: PLR2004
            return None
        wanted = wanted.where(TenantModel.version == int(version))
    return session.scalars(wanted.order_by(TenantModel.version.desc()).limit(1)).one_or_none()
