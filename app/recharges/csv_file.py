"""The CSV of a recharge: ``user,amount[,expires_at]`` as lines. Pure; refuses rather than guesses.

A file that is not what it should be is refused as a whole with its own code: a byte order mark,
another encoding, semicolons, no header, a cell that a spreadsheet would run. A line whose values
are wrong (an amount below zero, a date that is none) is an error of that line.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from app.errors import FieldError, InvalidRequestError
from app.recharges.order import WantedLine, wanted_line

ROWS_MAX: Final = 100_000
FILE_BYTES_MAX: Final = 8 * 1024 * 1024
CELL_LENGTH_MAX: Final = 128
HEADERS: Final = (["user", "amount"], ["user", "amount", "expires_at"])

_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_RUNS_AS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def read_lines(content: bytes) -> list[WantedLine]:
    """The lines of a file; ``row`` 1 is the line after the header.

    Raises:
        InvalidRequestError: ``csv_empty``, ``csv_byte_order_mark``, ``csv_not_utf8``,
            ``csv_semicolons``, ``csv_header_missing``, ``csv_malformed``, ``csv_formula_cell``,
            ``csv_too_many_rows``.
    """
    text = _decoded(content)
    rows = _rows(text)
    header = [cell.strip().lower() for cell in next(rows, [])]
    _check_header(header)
    lines = [
        _line(number, cells, columns=len(header)) for number, cells in enumerate(rows, start=1)
    ]
    if not lines:
        raise _refusal("csv_empty", "The file has a header and no line below it. Add one per user.")
    return lines


def safe_cell(value: object) -> str:
    """A cell of a CSV of ours: what a spreadsheet would run is shown as text instead."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_RUNS_AS_FORMULA) else text


def _decoded(content: bytes) -> str:
    if not content.strip():
        raise _refusal("csv_empty", "The file is empty. Send a header and one line per user.")
    if content.startswith(_MARKS):
        detail = (
            "The file begins with a byte order mark. Save it as plain UTF-8 "
            "(in a spreadsheet: 'CSV', not 'CSV UTF-8' or 'Unicode text')."
        )
        raise _refusal("csv_byte_order_mark", detail)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"The file is not UTF-8 (byte {error.start}). Save it as UTF-8."
        raise _refusal("csv_not_utf8", detail) from None
    if "\x00" in text:
        raise _refusal("csv_not_utf8", "The file contains NUL characters. Save it as UTF-8.")
    return text


def _rows(text: str) -> Iterator[list[str]]:
    """Rows with something in them."""
    count = 0
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
            if any(cell.strip() for cell in cells):
                count += 1
                if count > ROWS_MAX + 1:
                    detail = f"The file has more than {ROWS_MAX} lines. Split it."
                    raise _refusal("csv_too_many_rows", detail)
                yield cells
    except csv.Error as error:
        detail = f"Line {count + 1} is no CSV ({error}). Check its quotes."
        raise _refusal("csv_malformed", detail) from None


def _check_header(header: Sequence[str]) -> None:
    if list(header) in HEADERS:
        return
    if len(header) == 1 and ";" in header[0]:
        detail = (
            "The columns are separated by semicolons. Separate them by commas, and write decimals "
            "with a point."
        )
        raise _refusal("csv_semicolons", detail)
    detail = (
        "The first line must name the columns: user,amount or user,amount,expires_at. "
        f"It reads {','.join(header)[:80]!r}."
    )
    raise _refusal("csv_header_missing", detail)


def _line(row: int, cells: Sequence[str], *, columns: int) -> WantedLine:
    if len(cells) != columns:
        detail = f"Line {row} has {len(cells)} columns and the header {columns}."
        raise _refusal("csv_malformed", detail)
    for cell in cells:
        if cell.lstrip(" ").startswith(_RUNS_AS_FORMULA) and not _NUMBER.fullmatch(cell):
            detail = (
                f"Line {row} has the cell {cell[:40]!r}, which a spreadsheet would run. "
                "Put the value itself there."
            )
            raise _refusal("csv_formula_cell", detail)
        if len(cell) > CELL_LENGTH_MAX:
            detail = f"Line {row} has a cell of more than {CELL_LENGTH_MAX} characters."
            raise _refusal("csv_malformed", detail)
    user, amount, *rest = (cell.strip() for cell in cells)
    if not _NUMBER.fullmatch(amount):
        detail = f"{amount!r} is no number of tokens, such as 12.5"
        return WantedLine(row=row, named=user, error="invalid_amount", detail=detail)
    return _dated(row, user, amount, rest[0] if rest else "")


def _dated(row: int, user: str, amount: str, expires: str) -> WantedLine:
    expires_at = None
    if expires:
        try:
            expires_at = datetime.fromisoformat(expires)
        except ValueError:
            detail = f"{expires!r} is no date, such as 2027-01-31 or 2027-01-31T12:00:00Z"
            return WantedLine(row=row, named=user, error="invalid_expiry", detail=detail)
        if expires_at.tzinfo is None:
            expires_at = expires_at.replace(tzinfo=UTC)
    return wanted_line(row=row, named=user, tokens=amount, expires_at=expires_at)


def _refusal(code: str, detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, code=code, errors=[FieldError("/file", detail, code)])
