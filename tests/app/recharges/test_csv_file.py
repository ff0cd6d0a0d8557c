"""What a spreadsheet may send, and what is refused."""

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequestError
from app.recharges.csv_file import ROWS_MAX, read_lines, safe_cell


def code_of(content: bytes) -> str:
    with pytest.raises(InvalidRequestError) as refusal:
        read_lines(content)
    assert refusal.value.status == 422
    return refusal.value.code


def test_lines_are_read_in_order() -> None:
    content = b"user,amount,expires_at\r\nacme,5,\r\n\r\nglobex,0.5,2027-01-31\r\n"
    first, second = read_lines(content)
    assert (first.row, first.named, first.amount, first.expires_at) == (1, "acme", 5_000_000, None)
    assert (second.row, second.named, second.amount) == (2, "globex", 500_000)
    assert second.expires_at == datetime(2027, 1, 31, tzinfo=UTC)


def test_quotes_spaces_and_capitals_are_fine() -> None:
    (line,) = read_lines(b'User, Amount\n"a, b", 5\n')
    assert (line.named, line.amount) == ("a, b", 5_000_000)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "csv_empty"),
        (b" \n\n", "csv_empty"),
        (b"user,amount\n", "csv_empty"),
        (b"\xef\xbb\xbfuser,amount\na,5\n", "csv_byte_order_mark"),
        ("user,amount\na,5\n".encode("utf-16"), "csv_byte_order_mark"),
        ("user,amount\nmüller,5\n".encode("latin-1"), "csv_not_utf8"),
        ("user,amount\na,5\n".encode("utf-16-le"), "csv_not_utf8"),
        (b"user;amount\na;5\n", "csv_semicolons"),
        (b"user;amount;expires_at\na;5,5;\n", "csv_semicolons"),
        (b"acme,5\nglobex,6\n", "csv_header_missing"),
        (b"amount,user\n5,a\n", "csv_header_missing"),
        (b"user,amount\na,5,6\n", "csv_malformed"),
        (b"user,amount\na\n", "csv_malformed"),
        (b'user,amount\n"a,5\n', "csv_malformed"),
        (b"user,amount\n" + b"x" * 129 + b",5\n", "csv_malformed"),
        (b"user,amount\n=1+1,5\n", "csv_formula_cell"),
        (b"user,amount\n@SUM(A1),5\n", "csv_formula_cell"),
        (b"user,amount\n-2+3,5\n", "csv_formula_cell"),
        (b"user,amount\n+a,5\n", "csv_formula_cell"),
        (b"user,amount\n =1+1,5\n", "csv_formula_cell"),
        (b"user,amount\n\ta,5\n", "csv_formula_cell"),
        (b"user,amount\na,=5\n", "csv_formula_cell"),
        (b'user,amount\n"=HYPERLINK(""http://x"")",5\n', "csv_formula_cell"),
    ],
)  # fmt: skip
def test_each_wrong_file_has_its_own_code(content: bytes, code: str) -> None:
    assert code_of(content) == code


def test_too_many_lines_are_refused() -> None:
    assert code_of(b"user,amount\n" + b"a,5\n" * (ROWS_MAX + 1)) == "csv_too_many_rows"


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("-5", "invalid_amount"),
        ("0", "invalid_amount"),
        ("0.0000001", "invalid_amount"),
        ("1000000001", "invalid_amount"),
        ("99999999999999999999", "invalid_amount"),
        ("1e3", "invalid_amount"),
        ("1_000", "invalid_amount"),
        ("\uff15", "invalid_amount"),  # a full-width five
        ("NaN", "invalid_amount"),
        ("Infinity", "invalid_amount"),
        ("five", "invalid_amount"),
        ("", "invalid_amount"),
    ],
)
def test_a_wrong_amount_is_an_error_of_its_line(amount: str, code: str) -> None:
    bad, good = read_lines(f"user,amount\na,{amount}\nb,1\n".encode())
    assert (bad.error, bad.amount) == (code, None)
    assert (good.error, good.amount) == (None, 1_000_000)


def test_a_wrong_date_is_an_error_of_its_line() -> None:
    (line,) = read_lines(b"user,amount,expires_at\na,5,soon\n")
    assert line.error == "invalid_expiry"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20))
def test_no_cell_that_we_write_is_a_formula(text: str) -> None:
    written = io.StringIO()
    csv.writer(written).writerow([safe_cell(text), "end"])
    (cells,) = csv.reader(io.StringIO(written.getvalue(), newline=""))
    assert not cells[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cells[0].removeprefix("'") == text.removeprefix("'")
