"""Caps as callers name them: projects by name or id, tokens as numbers, windows as words.

``billing.budgets`` keeps and enforces them; here names become ids and wrong words are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidRequestError, NotFoundError
from app.tenants.models import ApiKey, Project
from app.tenants.service import get_tenant
from billing import budgets
from billing.amounts import from_number, to_number
from billing.caps import EACH, Cap, Scope, SetBy
from billing.windows import Period

Choice = TypeVar("Choice", bound=StrEnum)
ID_DIGITS_MAX = 18


@dataclass(frozen=True, slots=True)
class CapWish:
    """What a caller asks for; ``subject`` is None for the tenant as a whole."""

    scope: str
    subject: str | None
    window: str
    limit: int | float


def set_cap(
    session: Session, *, tenant_id: str, set_by: SetBy, wish: CapWish
) -> tuple[dict[str, Any], bool]:
    """Set a cap or change its limit; returns it as the public sees it, and whether it is new.

    Raises:
        InvalidRequestError: ``invalid_cap_scope``, ``invalid_cap_window``, ``invalid_cap_subject``.
        InvalidAmountError: the limit is no amount of tokens.
        NotFoundError: ``tenant_not_found``, ``project_not_found``, ``key_not_found``.
    """
    tenant = get_tenant(session, tenant_id)
    scope = _choice(Scope, wish.scope, pointer="/scope", code="invalid_cap_scope")
    period = _choice(Period, wish.window, pointer="/window", code="invalid_cap_window")
    cap, created = budgets.set_cap(
        session,
        tenant=tenant_id,
        set_by=set_by,
        scope=scope,
        subject=_subject(session, tenant_id, scope, wish.subject),
        period=period,
        zone=tenant.zone,
        limit=from_number(wish.limit),
    )
    return cap_view(cap, names=_names(session, tenant_id)), created


def end_cap(session: Session, *, tenant_id: str, cap_id: str, set_by: SetBy) -> None:
    """Take a cap away.

    Raises:
        NotFoundError: code ``cap_not_found``; unknown, another's, or set by somebody else.
    """
    known = cap_id.isascii() and cap_id.isdigit() and len(cap_id) <= ID_DIGITS_MAX
    if not known or not budgets.end_cap(
        session, tenant=tenant_id, cap_id=int(cap_id), set_by=set_by
    ):
        raise NotFoundError(
            "There is no such cap of yours. GET /v1/caps lists them; only who set one can end it.",
            code="cap_not_found",
        )


def list_caps(session: Session, *, tenant_id: str) -> list[dict[str, Any]]:
    """The caps in force, as the public sees them, oldest first."""
    names = _names(session, tenant_id)
    return [cap_view(cap, names=names) for cap in budgets.caps(session, tenant_id)]


def cap_view(cap: Cap, *, names: Mapping[str, str]) -> dict[str, Any]:
    """A cap as JSON: tokens as numbers, the window by its first local date."""
    return {
        "id": str(cap.id),
        "object": "cap",
        "set_by": cap.set_by.value,
        "scope": cap.scope.value,
        "subject": cap.subject or None,
        "name": names.get(cap.subject),
        "window": cap.period.value,
        "zone": cap.zone,
        "limit": to_number(cap.limit),
        "used": to_number(cap.used),
        "reserved": to_number(cap.reserved),
        "remaining": to_number(cap.remaining),
        "fullest": cap.fullest,
        "window_start": cap.window.isoformat(),
        "starts_anew": cap.starts_anew.isoformat().replace("+00:00", "Z"),
    }


def _choice(kind: type[Choice], value: str, *, pointer: str, code: str) -> Choice:
    if value in set(kind):
        return kind(value)
    wanted = f"one of {', '.join(kind)}"
    raise InvalidRequestError(
        f"{pointer.removeprefix('/')} must be {wanted}, got {value!r}.",
        code=code,
        errors=[FieldError(pointer, wanted)],
    )


def _subject(session: Session, tenant_id: str, scope: Scope, subject: str | None) -> str:
    if scope is Scope.TENANT:
        if subject is not None:
            raise _wrong_subject("leave out `subject` for a cap on the whole tenant")
        return ""
    if not subject:
        raise _wrong_subject(f"name the {scope.value} in `subject`, or * for each of them")
    if subject == EACH or scope is Scope.END_USER:
        return subject
    return (
        _project(session, tenant_id, subject)
        if scope is Scope.PROJECT
        else _key(session, tenant_id, subject)
    )


def _wrong_subject(detail: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The subject is not valid: {detail}.",
        code="invalid_cap_subject",
        errors=[FieldError("/subject", detail)],
    )


def _project(session: Session, tenant_id: str, name_or_id: str) -> str:
    found = session.scalar(
        select(Project.id).where(
            Project.tenant_id == tenant_id,
            or_(Project.id == name_or_id, Project.name == name_or_id),
        )
    )
    if found is None:
        raise NotFoundError(
            f"There is no project {name_or_id!r}. A project begins with its first key or job.",
            code="project_not_found",
        )
    return found


def _key(session: Session, tenant_id: str, key_id: str) -> str:
    found = session.scalar(
        select(ApiKey.id).where(ApiKey.tenant_id == tenant_id, ApiKey.id == key_id)
    )
    if found is None:
        raise NotFoundError(f"There is no API key {key_id!r}.", code="key_not_found")
    return found


def _names(session: Session, tenant_id: str) -> dict[str, str]:
    """What ids of projects and keys are called."""
    projects = select(Project.id, Project.name).where(Project.tenant_id == tenant_id)
    keys = select(ApiKey.id, ApiKey.name).where(ApiKey.tenant_id == tenant_id, ApiKey.name != "")
    return {row.id: row.name for row in session.execute(projects.union_all(keys))}
