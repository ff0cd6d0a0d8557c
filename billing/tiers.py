"""What tokens cost in money: price lists of graduated bands. Pure and exact.

Each band is charged at its own price, by the tokens used in a calendar month. Money is a fraction
of yuan until ``yuan`` rounds it half up to 2 decimals: once, at the end of an invoice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from billing.amounts import MICRO, MicroTokens, round_half_up
from billing.errors import InvalidRuleError
from billing.rule_data import members, number, only, whole, word

CURRENCY: Final = "CNY"
NEAR_TOKENS: Final = 5_000  # a notice tells of the next band when it is as near as this
_CENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Band:
    """Tokens up to and with ``up_to`` (None: all the rest) at ``price`` yuan each."""

    up_to: int | None
    price: Fraction


@dataclass(frozen=True, slots=True)
class PriceList:
    """Bands from the first token on; the last has no end. One band alone is a flat price."""

    name: str
    version: int
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class BandCharge:
    """The part of a month's tokens that lies in one band."""

    band: Band
    tokens: MicroTokens
    amount: Fraction  # yuan, exact


@dataclass(frozen=True, slots=True)
class Nearing:
    """The next band, and how many tokens are left to it."""

    number: int  # of the band, from 1 on
    price: Fraction
    remaining: MicroTokens


def band_charges(prices: PriceList, tokens: MicroTokens) -> tuple[BandCharge, ...]:
    """Split a month's tokens over the bands; bands without any are left out."""
    charges, start = [], 0
    for band in prices.bands:
        end = tokens if band.up_to is None else min(tokens, band.up_to * MICRO)
        part = end - start
        if part > 0:
            charges.append(BandCharge(band, MicroTokens(part), Fraction(part, MICRO) * band.price))
        start = max(start, end)
    return tuple(charges)


def money(prices: PriceList, tokens: MicroTokens) -> Fraction:
    """What a month's tokens cost, exact."""
    return sum((charge.amount for charge in band_charges(prices, tokens)), Fraction(0))


def yuan(exact: Fraction) -> Decimal:
    """2 decimals, rounded half up."""
    return Decimal(round_half_up(exact * _CENTS)).scaleb(-2)


def price_of_band(prices: PriceList, tokens: int) -> Fraction:
    """The price of the band that a purchase of so many tokens reaches."""
    return next(band.price for band in prices.bands if band.up_to is None or tokens <= band.up_to)


def nearing(prices: PriceList, used: MicroTokens) -> Nearing | None:
    """The next band, if it is within 5 000 tokens of what was used; None otherwise."""
    for index, band in enumerate(prices.bands[:-1]):
        end = (band.up_to or 0) * MICRO
        if used >= end:
            continue
        if end - used > NEAR_TOKENS * MICRO:
            return None
        return Nearing(index + 2, prices.bands[index + 1].price, MicroTokens(end - used))
    return None


def read_price_list(body: Mapping[str, Any], *, name: str = "", version: int = 1) -> PriceList:
    """A list from its data: ``{"currency": "CNY", "bands": [{"up_to": "1000", "price": "0.01"}]}``.

    Raises:
        InvalidRuleError: another currency, bands that do not rise, a last band with an end, or a
            price that is not above 0.
    """
    only(body, {"currency", "bands"})
    if word(body, "currency") != CURRENCY:
        raise InvalidRuleError(f"prices are in {CURRENCY}")
    bands = []
    for data in members(body, "bands"):
        only(data, {"up_to", "price"})
        price = number(data, "price")
        if price == 0:
            raise InvalidRuleError("a price is above 0")
        bands.append(Band(whole(data, "up_to") if "up_to" in data else None, price))
    ends = [band.up_to for band in bands]
    if not bands or ends[-1] is not None or None in ends[:-1]:
        raise InvalidRuleError("every band but the last has an up_to, the last has none")
    rising = [end for end in ends if end is not None]
    if rising != sorted(set(rising)):
        raise InvalidRuleError("the bands of a price list rise")
    return PriceList(name, version, tuple(bands))
