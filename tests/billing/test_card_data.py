import pytest

from billing.card_data import read_card
from billing.errors import InvalidCardError

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
        {"batch_discounts": [{"items": 10, "percent": "101"}]},
    ],
)
def test_wrong_data_is_refused(changes):
    with pytest.raises(InvalidCardError):
        read_card({**CARD, **changes}, card="c", version=1)
