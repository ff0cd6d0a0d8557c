"""Money for tokens: every worked example, each edge at -1, 0 and +1."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.amounts import MICRO
from billing.errors import InvalidRuleError
from billing.publishing import shipped_rules
from billing.tiers import (
    band_charges,
    money,
    nearing,
    price_of_band,
    read_price_list,
    yuan,
)
from tests.billing.worked_examples import MONTHS

LISTS = {
    rule["subject"]: read_price_list(rule["body"], name=rule["subject"])
    for rule in shipped_rules()
    if rule["kind"] == "price_list"
}
STANDARD = LISTS["standard"]


@pytest.mark.parametrize(("name", "tokens", "amount"), MONTHS)
def test_a_month_costs_what_the_list_says(name, tokens, amount):
    assert yuan(money(LISTS[name], tokens * MICRO)) == Decimal(amount)


@pytest.mark.parametrize(
    ("edge", "before", "after"), [(1_000, "0.010", "0.008"), (10_000, "0.008", "0.006"),
                                  (100_000, "0.006", "0.004")]
)  # fmt: skip
def test_the_token_at_an_edge_costs_the_old_price_and_the_next_one_the_new(edge, before, after):
    def cost(tokens):
        return money(STANDARD, tokens * MICRO)

    assert cost(edge) - cost(edge - 1) == Fraction(before)
    assert cost(edge + 1) - cost(edge) == Fraction(after)
    assert money(STANDARD, edge * MICRO + 1) - cost(edge) == Fraction(after) / MICRO


def test_a_month_is_split_over_its_bands():
    charges = band_charges(STANDARD, 15_000 * MICRO)
    assert [(each.tokens // MICRO, float(each.amount)) for each in charges] == [
        (1_000, 10),
        (9_000, 72),
        (5_000, 30),
    ]
    assert band_charges(STANDARD, 0) == ()


@given(st.integers(0, 2_000_000 * MICRO), st.integers(0, 2_000_000 * MICRO))
def test_more_tokens_never_cost_less_and_bands_always_add_up(one, other):
    assert money(STANDARD, min(one, other)) <= money(STANDARD, max(one, other))
    assert sum(each.tokens for each in band_charges(STANDARD, one)) == one


@pytest.mark.parametrize(("exact", "shown"), [("0.005", "0.01"), ("0.004999", "0.00"),
                                              ("10.008", "10.01"), ("2.675", "2.68")])  # fmt: skip
def test_money_is_rounded_half_up_once(exact, shown):
    assert str(yuan(Fraction(exact))) == shown


@pytest.mark.parametrize(
    ("tokens", "price"),
    [(1_000, "0.010"), (1_001, "0.008"), (10_000, "0.008"), (100_000, "0.006"), (10**6, "0.004")],
)
def test_a_pack_has_the_price_of_the_band_it_reaches(tokens, price):
    assert price_of_band(STANDARD, tokens) == Fraction(price)


@pytest.mark.parametrize(
    ("used", "band", "remaining"),
    [
        (0, 2, 1_000),
        (999, 2, 1),
        (1_000, None, None),
        (4_999, None, None),
        (5_000, 3, 5_000),
        (9_999, 3, 1),
        (10_000, None, None),
        (94_999, None, None),
        (95_000, 4, 5_000),
        (100_000, None, None),
        (10**9, None, None),
    ],
)
def test_the_next_band_is_near_within_5_000_tokens(used, band, remaining):
    found = nearing(STANDARD, used * MICRO)
    assert (found and found.number, found and found.remaining // MICRO) == (band, remaining)


def test_a_flat_list_has_no_next_band():
    assert nearing(LISTS["flat"], 500 * MICRO) is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"currency": "EUR", "bands": [{"price": "1"}]},
        {"currency": "CNY", "bands": []},
        {"currency": "CNY", "bands": [{"price": "0"}]},
        {"currency": "CNY", "bands": [{"price": "-1"}]},
        {"currency": "CNY", "bands": [{"price": 0.01}]},
        {"currency": "CNY", "bands": [{"up_to": "10", "price": "1"}]},
        {"currency": "CNY", "bands": [{"price": "1"}, {"price": "1"}]},
        {"currency": "CNY", "bands": [{"up_to": "9", "price": "1"}, {"up_to": "9", "price": "1"},
                                      {"price": "1"}]},
        {"currency": "CNY", "bands": [{"up_to": "1.5", "price": "1"}, {"price": "1"}]},
    ],
)  # fmt: skip
def test_a_price_list_that_cannot_be_is_refused(body):
    with pytest.raises(InvalidRuleError):
        read_price_list(body)
