"""What a paper says, whatever it is drawn with. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Align = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; ``weight`` is its share of the width."""

    title: str
    align: Align = "left"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class PaperTable:
    """Rows of text under a heading; ``total`` is a last row that stands out."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] | None = None
    empty: str = "Nothing."


@dataclass(frozen=True, slots=True)
class Paper:
    """A whole document."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]  # label and value, in two columns
    tables: tuple[PaperTable, ...]
    headline: tuple[str, str] | None = None  # the one number that matters, with its label
    notes: tuple[str, ...] = ()


def amount_text(value: str | Decimal | float) -> str:
    """A number with its thousands apart, as many decimals as it brings: ``-1 234.50``."""
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    return f"{number:,f}".replace(",", "\N{NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")
