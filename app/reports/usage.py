"""A usage report as callers ask for it: words become a question, rows get their names."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidRequestError
from app.tenants.models import Project, Tenant
from billing.amounts import MICRO, to_number
from billing.usage_report import Bucket, Dimension, Question, UsageRow

Word = TypeVar("Word", bound=StrEnum)
PERIOD_DEFAULT: Final = timedelta(days=30)
PERIOD_MAX: Final = timedelta(days=3660)
MEASURES: Final = ("jobs", "tokens", "average_tokens", "gpu_ms", "failures", "cache_hits")


@dataclass(frozen=True, slots=True)
class UsageWish:
    """What a caller asks for, in its own words."""

    since: datetime | None
    until: datetime | None
    bucket: str
    group_by: str  # comma-separated
    only: Mapping[str, str]  # by dimension; a project by name or id


def usage_question(
    session: Session,
    wish: UsageWish,
    *,
    tenant_id: str | None,
    zone: str,
    now: datetime,
    over_tenants: bool = False,
) -> Question:
    """Turn words into a question; ``tenant_id`` None asks about every tenant.

    ``over_tenants``: rows may be grouped by tenant.

    Raises:
        InvalidRequestError: ``invalid_bucket``, ``invalid_grouping``, ``invalid_time_range``.
    """
    until = wish.until or now
    since = wish.since or until - PERIOD_DEFAULT
    if not timedelta(0) < until - since <= PERIOD_MAX:
        detail = "since must lie before until, by at most ten years"
        raise InvalidRequestError(
            f"The time range is not valid: {detail}.",
            code="invalid_time_range",
            errors=[FieldError("/since", detail)],
        )
    allowed = [each for each in Dimension if over_tenants or each is not Dimension.TENANT]
    only = {Dimension(name): value for name, value in wish.only.items()}
    if Dimension.PROJECT in only and tenant_id is not None:
        only[Dimension.PROJECT] = _project_id(session, tenant_id, only[Dimension.PROJECT])
    return Question(
        since=since,
        until=until,
        zone=zone,
        bucket=_word(wish.bucket, tuple(Bucket), pointer="/bucket", code="invalid_bucket"),
        group_by=_grouping(wish.group_by, allowed),
        only=only,
        tenant=tenant_id,
    )


def usage_views(
    session: Session, question: Question, rows: Iterable[UsageRow]
) -> Iterable[dict[str, Any]]:
    """Rows as the public sees them, one by one; projects and tenants by their names."""
    names = _names(session, question)
    for row in rows:
        yield {
            "start": row.start,
            **{
                dimension.value: names.get(value, value) or None
                for dimension, value in zip(question.group_by, row.group, strict=True)
            },
            "jobs": row.jobs,
            "tokens": to_number(row.tokens),
            "average_tokens": round(row.tokens / MICRO / row.jobs, 6),
            "gpu_ms": row.gpu_us / 1000,
            "failures": row.failures,
            "cache_hits": row.cache_hits,
        }


def columns(question: Question) -> tuple[str, ...]:
    """The columns of a file, in order."""
    return ("start", *(each.value for each in question.group_by), *MEASURES)


def cursor_of(row: UsageRow) -> str:
    """A row's place as one word."""
    return base64.urlsafe_b64encode(json.dumps(row.place).encode()).decode()


def place_of(cursor: str, question: Question) -> tuple[str, ...]:
    """The place that a cursor names.

    Raises:
        InvalidRequestError: code ``invalid_cursor``; it is none of this report.
    """
    try:
        place = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        known = _is_place(place, question)
    except (binascii.Error, ValueError, TypeError, LookupError):
        place, known = None, False
    if not known:
        raise InvalidRequestError(
            "The cursor is not one of this report. Leave out `after` to begin at the start.",
            code="invalid_cursor",
            errors=[FieldError("/after", "the next_cursor of the page before this one")],
        )
    return tuple(place)


def _is_place(place: Any, question: Question) -> bool:  # noqa: ANN401 - any JSON
    texts = isinstance(place, list) and all(isinstance(part, str) for part in place)
    if not texts or len(place) != len(question.group_by) + 1 or "\0" in "".join(place):
        return False
    if question.bucket is Bucket.DAY:
        date.fromisoformat(place[0])
        return True
    return datetime.fromisoformat(place[0]).tzinfo is not None


def _word(value: str, allowed: Sequence[Word], *, pointer: str, code: str) -> Word:
    for word in allowed:
        if word.value == value:
            return word
    wanted = f"one of {', '.join(allowed)}"
    raise InvalidRequestError(
        f"{pointer.removeprefix('/')} must be {wanted}, got {value!r}.",
        code=code,
        errors=[FieldError(pointer, wanted)],
    )


def _grouping(words: str, allowed: Sequence[Dimension]) -> tuple[Dimension, ...]:
    given = [word.strip() for word in words.split(",") if word.strip()]
    chosen = [_word(word, allowed, pointer="/group_by", code="invalid_grouping") for word in given]
    return tuple(dict.fromkeys(chosen))


def _project_id(session: Session, tenant_id: str, name: str) -> str:
    """The id of a project called by its name; a name that nobody has matches nothing."""
    query = select(Project.id).where(Project.tenant_id == tenant_id, Project.name == name)
    return session.scalars(query).first() or name


def _names(session: Session, question: Question) -> dict[str, str]:
    names: dict[str, str] = {}
    if Dimension.PROJECT in question.group_by:
        projects = select(Project.id, Project.name)
        if question.tenant is not None:
            projects = projects.where(Project.tenant_id == question.tenant)
        names |= {row.id: row.name for row in session.execute(projects)}
    if Dimension.TENANT in question.group_by:
        names |= {row.id: row.name for row in session.execute(select(Tenant.id, Tenant.name))}
    return names
