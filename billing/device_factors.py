"""How fast each device is beside the reference device, so that a price does not depend on it.

Time on the reference = measured time x factor: a device that takes half as long has factor 2, the
reference 1. A device that nobody calibrated counts as the reference.
"""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.rule_data import factor, only

# Changes count from the next accepted record on; a factor is published "in force from now" too.
_FACTOR = text(
    "SELECT body ->> 'factor' FROM billing.pricing_rule WHERE kind = 'device_factor'"
    " AND subject = :device AND effective_from <= coalesce(:at, clock_timestamp())"
    " ORDER BY effective_from DESC LIMIT 1"
)


def factor_of(session: Session, device: str, *, at: datetime | None = None) -> Fraction:
    """The factor in force for a device as usage reports name it."""
    found = session.execute(_FACTOR, {"device": device, "at": at}).scalar_one_or_none()
    return Fraction(1) if found is None else Fraction(found)


def read_factor(body: Mapping[str, Any]) -> Fraction:
    """The factor of a rule.

    Raises:
        InvalidRuleError: no number above 0.
    """
    only(body, {"factor"})
    return factor(body, "factor")
