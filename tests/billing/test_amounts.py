from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.amounts import MAX_TOKENS, MICRO, MicroTokens, from_number, round_half_up, to_number
from billing.errors import InvalidAmountError


@pytest.mark.parametrize(
    ("value", "micro"),
    [
        (0, 0),
        (6, 6 * MICRO),
        (5.625, 5_625_000),
        (0.175, 175_000),
        ("0.000001", 1),
        ("1e3", 1000 * MICRO),
        ("1.0000000", MICRO),
        (Decimal("10.96"), 10_960_000),
        (MAX_TOKENS, MAX_TOKENS * MICRO),
    ],
)
def test_a_number_of_tokens_becomes_micro_tokens(value, micro):
    assert from_number(value) == micro


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.5,
        float("nan"),
        float("inf"),
        "sNaN",
        True,
        "",
        "ten",
        None,
        [],
        MAX_TOKENS + 1,
        2**63,
        "1e999999999",
        "0.0000001",
        "1e-999999999",
        0.1 + 0.2,
        "1.0000000000000000000000000000001",
        "9" * 100,
    ],
)
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(InvalidAmountError) as caught:
        from_number(value)
    assert caught.value.code == "invalid_amount"


def test_whole_amounts_are_shown_without_a_point():
    assert repr(to_number(MicroTokens(6 * MICRO))) == "6"
    assert repr(to_number(MicroTokens(5_625_000))) == "5.625"
    assert to_number(MicroTokens(-3 * MICRO)) == -3


@given(st.integers(0, MAX_TOKENS * MICRO))
def test_every_amount_survives_being_shown(micro):
    assert from_number(to_number(MicroTokens(micro))) == micro


@pytest.mark.parametrize(("half", "up"), [("2.5", 3), ("2.4999999", 2), ("-2.5", -2), ("0.5", 1)])
def test_a_half_is_rounded_up(half, up):
    assert round_half_up(Fraction(half)) == up
