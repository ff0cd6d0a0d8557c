"""Tokens as integers: inside, money is micro-tokens; outside, a number with at most 6 decimals."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import NewType

from billing.errors import InvalidAmountError

MicroTokens = NewType("MicroTokens", int)

MICRO = 1_000_000  # micro-tokens in a token
MAX_TOKENS = 1_000_000_000  # the largest amount one request or file may name
_DECIMALS = 6
_LONGEST_TEXT = 64


def from_number(value: int | float | str | Decimal) -> MicroTokens:
    """Turn a number of tokens from outside into micro-tokens, exactly.

    Raises:
        InvalidAmountError: not a number, NaN or infinite, negative, finer than 6 decimals, or
            above 1 000 000 000 tokens.
    """
    number = _decimal(value)
    if not number.is_finite():
        raise InvalidAmountError(f"an amount must be a finite number of tokens, got {number}")
    if number < 0:
        raise InvalidAmountError(f"an amount cannot be negative, got {value}")
    if number > MAX_TOKENS:
        raise InvalidAmountError(f"an amount is at most {MAX_TOKENS} tokens, got {value}")
    if _is_finer_than_micro(number):
        raise InvalidAmountError(f"an amount has at most 6 decimals, got {value}")
    return MicroTokens((Fraction(number) * MICRO).numerator)


def to_number(amount: int) -> int | float:
    """Show micro-tokens as a JSON number of tokens: whole when it is whole, else a float.

    A double holds every amount up to 1 000 000 000 tokens with its 6 decimals.
    """
    whole, rest = divmod(amount, MICRO)
    return whole if rest == 0 else amount / MICRO


def round_half_up(value: Fraction) -> int:
    """The nearest whole number; a half goes up. The one rounding rule of every price."""
    return int((value + Fraction(1, 2)).__floor__())


def _is_finer_than_micro(number: Decimal) -> bool:
    """Look at the digits: arithmetic in the default context would round long ones away."""
    _, digits, exponent = number.as_tuple()
    beyond = -int(exponent) - _DECIMALS  # how many digits stand after the 6th decimal
    return beyond > 0 and any(digits[-beyond:])


def _decimal(value: int | float | str | Decimal) -> Decimal:
    if isinstance(value, bool) or (isinstance(value, str) and len(value) > _LONGEST_TEXT):
        raise InvalidAmountError("an amount must be a number of tokens, for example 12.5")
    try:
        return Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError, TypeError):
        message = f"an amount must be a number of tokens, for example 12.5; got {value!r}"
        raise InvalidAmountError(message) from None
