"""Tenants, projects and keys: the only writer of those tables."""

import base64
import hmac
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.errors import (
    AuthenticationError,
    ConflictError,
    FieldError,
    InvalidRequestError,
    NotFoundError,
)
from app.ids import new_id
from app.secret_box import SecretBox
from app.tenants.keys import MintedKey, hash_key, mint, parse
from app.tenants.models import ApiKey, Project, Tenant
from billing.wallets import open_wallet

NAME_LENGTH_MAX: Final = 128
WEBHOOK_SECRET_BYTES: Final = 32
CHOICES: Final = {
    "group": ("free", "vip", "enterprise"),
    "mode": ("prepaid", "postpaid"),
    "consent_mode": ("request", "contract"),
}
UNNAMED_OPERATOR: Final = "unnamed"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose key was checked."""

    tenant_id: str | None  # None: an operator's key
    project_id: str | None
    key_id: str
    role: str  # tenant | admin
    project: str | None = None  # its name
    consent_mode: str = "request"  # of the tenant: request | contract
    operator: str | None = None  # the person behind an admin key


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just created; the only moment its text exists."""

    id: str
    minted: MintedKey


def authenticate(session: Session, key: str, now: datetime) -> Principal:
    """Find out who calls, with one query; a malformed key needs none.

    Raises:
        AuthenticationError: ``key_malformed``, ``key_unknown``, ``key_revoked`` or ``key_expired``.
    """
    public_part = parse(key)
    row = session.execute(
        select(ApiKey, Project.name, Tenant.consent_mode)
        .outerjoin(Tenant, Tenant.id == ApiKey.tenant_id)
        .outerjoin(Project, Project.id == ApiKey.project_id)
        .where(ApiKey.public_part == public_part)
    ).one_or_none()
    if row is None or not hmac.compare_digest(row[0].secret_hash, hash_key(key)):
        raise AuthenticationError(
            "The API key is not known here. Check that it belongs to this server.",
            code="key_unknown",
        )
    found, project, consent_mode = row
    if found.revoked_at is not None and found.revoked_at <= now:
        raise AuthenticationError("The API key was revoked. Use another.", code="key_revoked")
    if found.expires_at is not None and found.expires_at <= now:
        raise AuthenticationError("The API key has expired. Use another.", code="key_expired")
    return Principal(
        tenant_id=found.tenant_id,
        project_id=found.project_id,
        key_id=found.id,
        role=found.role,
        project=project,
        consent_mode=consent_mode or "request",
        operator=found.operator,
    )


def create_tenant(
    session: Session,
    *,
    name: str,
    box: SecretBox,
    group: str = "free",
    zone: str = "UTC",
    mode: str = "prepaid",
    consent_mode: str = "request",
) -> Tenant:
    """Create a tenant with an empty wallet and its own webhook secret.

    Raises:
        InvalidRequestError: a name, zone, group or mode that cannot be.
        ConflictError: code ``name_taken``.
    """
    check_tenant(name=name, zone=zone, group=group, mode=mode, consent_mode=consent_mode)
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(WEBHOOK_SECRET_BYTES)).decode()}"
    tenant_id = session.execute(
        insert(Tenant)
        .values(
            id=new_id("ten"),
            name=name,
            group=group,
            zone=zone,
            mode=mode,
            consent_mode=consent_mode,
            webhook_secret=box.encrypt(secret),
        )
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(Tenant.id)
    ).scalar_one_or_none()
    if tenant_id is None:
        raise ConflictError(f"A tenant named {name!r} exists. Choose another.", code="name_taken")
    open_wallet(session, tenant_id)
    return get_tenant(session, tenant_id)


def check_tenant(*, name: str, zone: str, **choices: str) -> None:
    """Raises ``InvalidRequestError``, with the code ``unknown_zone`` where that is the fault."""
    wrong = [
        FieldError(f"/{field}", f"one of {', '.join(CHOICES[field])}")
        for field, value in choices.items()
        if value not in CHOICES[field]
    ]
    if not 0 < len(name.strip()) <= NAME_LENGTH_MAX or not name.isprintable():
        wrong.append(FieldError("/name", f"1 to {NAME_LENGTH_MAX} printable characters"))
    if not _is_zone(zone):
        wrong.append(FieldError("/zone", "an IANA time zone such as Asia/Shanghai"))
    if wrong:
        code = "unknown_zone" if wrong[0].pointer == "/zone" else None
        detail = f"The tenant cannot be so: {wrong[0].pointer} must be {wrong[0].detail}."
        raise InvalidRequestError(detail, code=code, errors=wrong)


def check_zone(name: str) -> str:
    """The name, if it is an IANA zone's.

    Raises:
        InvalidRequestError: code ``unknown_zone``.
    """
    if not _is_zone(name):
        raise InvalidRequestError(
            f"There is no time zone {name!r}. Send an IANA name such as Asia/Shanghai.",
            code="unknown_zone",
            errors=[FieldError("/zone", "an IANA time zone such as Asia/Shanghai")],
        )
    return name


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def get_tenant(session: Session, tenant_id: str) -> Tenant:
    """The tenant with this id; raises ``NotFoundError``."""
    tenant = session.get(Tenant, tenant_id)
    if tenant is None:
        raise NotFoundError("There is no such tenant.", code="tenant_not_found")
    return tenant


def named_tenant(session: Session, name_or_id: str) -> Tenant:
    """The tenant with this name or id; raises ``NotFoundError``."""
    found = find_tenants(session, names_or_ids=[name_or_id]).get(name_or_id)
    if found is None:
        raise NotFoundError("There is no such tenant.", code="tenant_not_found")
    return found


def find_tenants(session: Session, *, names_or_ids: Sequence[str]) -> dict[str, Tenant]:
    """Tenants by what an operator called them, a name or an id; unknown ones are left out."""
    wanted = list(names_or_ids)
    tenants = session.scalars(
        select(Tenant).where(or_(Tenant.id.in_(wanted), Tenant.name.in_(wanted)))
    ).all()
    found = {tenant.name: tenant for tenant in tenants} | {tenant.id: tenant for tenant in tenants}
    return {called: found[called] for called in wanted if called in found}


def tenant_webhook_secret(session: Session, *, tenant_id: str, box: SecretBox) -> str:
    """The ``whsec_`` secret that signs what has no secret of its own."""
    return box.decrypt(get_tenant(session, tenant_id).webhook_secret)


def ensure_project(session: Session, *, tenant_id: str, name: str) -> str:
    """The id of a tenant's project; it is created when it is named for the first time."""
    found = session.scalar(
        select(Project.id).where(Project.tenant_id == tenant_id, Project.name == name)
    )
    if found is not None:
        return found
    session.execute(
        insert(Project)
        .values(id=new_id("prj"), tenant_id=tenant_id, name=name)
        .on_conflict_do_nothing()
    )
    return session.scalars(
        select(Project.id).where(Project.tenant_id == tenant_id, Project.name == name)
    ).one()


def create_key(
    session: Session,
    *,
    tenant_id: str | None,
    project: str | None = None,
    name: str = "",
    operator: str | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """Create a key of a tenant, or an admin key when ``tenant_id`` is None.

    An admin key belongs to a person, ``operator``, by default called like the key. What one person
    proposes only another can approve, so all keys without any name are one person's.
    Only the key's hash is stored: show ``minted.key`` to the caller now or never.
    """
    project_id = None
    if tenant_id is not None:
        get_tenant(session, tenant_id)
        if project is not None:
            project_id = ensure_project(session, tenant_id=tenant_id, name=project)
    minted = mint()
    key_id = new_id("key")
    session.execute(
        insert(ApiKey).values(
            id=key_id,
            tenant_id=tenant_id,
            project_id=project_id,
            role="admin" if tenant_id is None else "tenant",
            name=name,
            operator=person(operator or name) if tenant_id is None else None,
            public_part=minted.public_part,
            secret_hash=minted.secret_hash,
            expires_at=expires_at,
        )
    )
    return NewKey(id=key_id, minted=minted)


def person(name: str) -> str:
    """One spelling for one person: neither case, spaces nor forms of a letter make a second one."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split()) or UNNAMED_OPERATOR


def revoke_key(session: Session, *, key_id: str, tenant_id: str | None = None) -> None:
    """End a key at once; revoking twice is fine. With ``tenant_id`` only that tenant's keys."""
    statement = update(ApiKey).where(ApiKey.id == key_id).returning(ApiKey.id)
    if tenant_id is not None:
        statement = statement.where(ApiKey.tenant_id == tenant_id)
    revoked = session.scalar(
        statement.values(revoked_at=text("coalesce(revoked_at, clock_timestamp())"))
    )
    if revoked is None:
        raise NotFoundError("There is no such API key.", code="key_not_found")
