"""A cap as a value: whose spending it counts, in which window, and how full it is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, Self

from billing.amounts import MicroTokens
from billing.errors import BillingError, tokens_text
from billing.windows import Period, starts_anew

PERIOD_NAMES: Final = {Period.DAY: "daily", Period.MONTH: "monthly"}
EACH: Final = "*"  # a subject: every project, key or end user has this cap for itself


class Scope(StrEnum):
    """Whose spending a cap counts."""

    TENANT = "tenant"  # everything
    PROJECT = "project"
    KEY = "key"
    END_USER = "end_user"


class SetBy(StrEnum):
    """Who set a cap and may take it away."""

    OPERATOR = "operator"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Cap:
    """A cap in its present window; ``used`` and ``reserved`` are of its fullest subject."""

    id: int
    set_by: SetBy
    scope: Scope
    subject: str  # id of the project or key, name of the end user, "*" each, "" the tenant
    period: Period
    zone: str
    limit: MicroTokens
    window: date  # the first local date of the window
    used: MicroTokens  # charged
    reserved: MicroTokens  # held by jobs under way
    fullest: str | None = None  # for "*": whose numbers these are

    @property
    def whose(self) -> str:
        """Whose spending it counts, as a sentence names it."""
        match self.scope:
            case Scope.TENANT:
                return "the tenant"
            case Scope.END_USER:
                return f"the end user {self.subject!r}"
            case _:
                return f"the {self.scope.value} {self.subject}"

    @property
    def remaining(self) -> MicroTokens:
        """What may still be spent in this window; never below 0."""
        return MicroTokens(max(0, self.limit - self.used - self.reserved))

    @property
    def starts_anew(self) -> datetime:
        """When the next window begins, in UTC."""
        return starts_anew(self.period, self.zone, self.window)

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Self:
        """From a row, or from what ``place_hold`` says of a cap that is reached."""
        window = facts["window"]
        return cls(
            id=facts["id"],
            set_by=SetBy(facts["set_by"]),
            scope=Scope(facts["scope"]),
            subject=facts["subject"],
            period=Period(facts["period"]),
            zone=facts["zone"],
            limit=MicroTokens(facts["limit"]),
            window=date.fromisoformat(window) if isinstance(window, str) else window,
            used=MicroTokens(facts["used"]),
            reserved=MicroTokens(facts["reserved"]),
            fullest=facts.get("fullest"),
        )


class CapReachedError(BillingError):
    """Raised when a cap leaves less than a hold needs; retry when its window starts anew.

    ``cap`` is the one that is reached (the one that stays so longest) with its ``subject``;
    ``needed`` is micro-tokens.
    """

    code = "cap_reached"

    def __init__(self, cap: Cap, *, needed: int) -> None:
        super().__init__(
            f"the {PERIOD_NAMES[cap.period]} cap of {cap.whose} is reached: of"
            f" {tokens_text(cap.limit)} tokens {tokens_text(cap.used)} are used and"
            f" {tokens_text(cap.reserved)} reserved, and this needs {tokens_text(needed)};"
            f" it starts anew at {cap.starts_anew.isoformat()}"
        )
        self.cap = cap
        self.needed = needed
