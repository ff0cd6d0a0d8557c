from fractions import Fraction

import pytest

from billing.card_data import check_card_name, read_card
from billing.errors import InvalidCardError, NegativePriceError

TERM = {"name": "image", "quantity": "images", "unit": "image", "tokens": "1"}
CARD = {"engines": ["x"], "rounding": {"quantum": "1", "minimum": "0"}, "terms": [TERM]}


def test_a_smallest_card_can_be_read():
    card = read_card(CARD, card="c", version=2)
    assert card.id == "c@2"
    assert card.prices("x")
    assert not card.prices("y")


@pytest.mark.parametrize(
    "changes",
    [
        {"engines": None, "surprise": 1},
        {"rounding": {"quantum": "0", "minimum": "0"}},
        {"rounding": {"quantum": "1"}},
        {"rounding": {"quantum": "1", "minimum": "-1"}},
        {"terms": []},
        {"terms": [{**TERM, "tokens": "-1"}]},
        {"terms": [{**TERM, "tokens": 0.1}]},
        {"terms": [{**TERM, "tokens": "1/0"}]},
        {"terms": [{**TERM, "tokens": "one"}]},
        {"terms": [{**TERM, "typo": "1"}]},
        {"terms": [{**TERM, "over": "0"}]},
        {"terms": [{**TERM, "each": "0"}]},
        {"terms": [{"name": "image"}]},
        {"batch_discounts": [{"items": 10, "percent": "100"}]},
        {"batch_discounts": [{"items": 0, "percent": "5"}]},
        {"batch_discounts": [{"items": True, "percent": "5"}]},
        {"batch_discounts": [{"items": 5}]},
        {"batch_discounts": [{"items": 5, "percent": "1"}, {"items": 5, "percent": "2"}]},
        {"batch_discounts": "10%"},
        {"engines": "x"},
        {"engines": []},
        {"engines": [1]},
        {"rounding": None},
        {"rounding": {"quantum": "1", "minimum": "0", "mode": "up"}},
        {"terms": None},
        {"terms": ["image"]},
        {"terms": [{**TERM, "tokens": "1e999999999"}]},
        {"terms": [{**TERM, "tokens": "9" * 40}]},
        {"terms": [{**TERM, "tokens": None}]},
        {"terms": [{**TERM, "name": ""}]},
        {"terms": [{**TERM, "when": ["media"]}]},
        {"terms": [{**TERM, "when": {"media": "image"}}]},
        {"terms": [{**TERM, "tables": {"model": "1"}}]},
        {"terms": [{**TERM, "tables": {"model": {"a": "-1"}}}]},
        {"terms": [{**TERM, "multiply": "frames"}]},
        {"terms": [{**TERM, "rebate": "yes"}]},
        {"ceilings": [{"quantity": "gpu_ms"}]},
    ],
)
def test_wrong_data_is_refused(changes):
    with pytest.raises(InvalidCardError):
        read_card({**CARD, **changes}, card="c", version=1)


@pytest.mark.parametrize("tokens", ["-1", "-0.5", "-2/30", -1, -0.1])
def test_a_negative_price_has_its_own_code(tokens):
    with pytest.raises(NegativePriceError) as caught:
        read_card({**CARD, "terms": [{**TERM, "tokens": tokens}]}, card="c", version=1)
    assert caught.value.code == "negative_price"


@pytest.mark.parametrize(("text", "value"), [("2/30", "1/15"), ("0.175", "7/40"), ("1.5/3", "1/2")])
def test_numbers_are_exact(text, value):
    card = read_card({**CARD, "terms": [{**TERM, "tokens": text}]}, card="c", version=1)
    assert card.terms[0].tokens == Fraction(value)


@pytest.mark.parametrize("name", ["", "a@1", "Yolo", "a b", "../x", "x" * 65])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(InvalidCardError):
        check_card_name(name)
