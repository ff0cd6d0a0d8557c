"""What an operator asks for: who gets how much, line by line. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.amounts import MicroTokens, from_number
from billing.errors import InvalidAmountError
from billing.recharges import RechargeMode


@dataclass(frozen=True, slots=True)
class WantedLine:
    """One user's part, before anybody looked for the user; with an error, or with an amount."""

    row: int  # from 1
    named: str
    amount: MicroTokens | None = None
    expires_at: datetime | None = None
    error: str | None = None  # code
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A whole recharge. ``operator`` is a label that the caller wrote, never an identity."""

    source: str  # json | csv | estimate
    mode: RechargeMode
    operator: str
    reason: str
    content_sha256: str  # of the file, or of the JSON
    lines: Sequence[WantedLine]


def positive_amount(tokens: int | float | str | Decimal) -> MicroTokens:
    """An amount that can be given away; raises ``InvalidAmountError``."""
    amount = from_number(tokens)
    if amount == 0:
        raise InvalidAmountError("an amount must be more than 0 tokens")
    return amount


def wanted_line(*, row: int, named: str, tokens: str, expires_at: datetime | None) -> WantedLine:
    """A line of a file; what is wrong with its amount is said in the line."""
    try:
        amount = positive_amount(tokens)
    except InvalidAmountError as error:
        return WantedLine(row=row, named=named, error=error.code, detail=error.detail)
    return WantedLine(row=row, named=named, amount=amount, expires_at=expires_at)
