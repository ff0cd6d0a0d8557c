import pytest

from billing.amounts import from_number
from billing.cards import assign, load_book
from billing.errors import UnknownPriceError
from billing.quote import quote
from billing.rates import Work
from tests.billing.till import NOW


def test_a_quote_names_the_amount_the_card_and_every_line(till):
    work = Work({"images": 1, "input_pixels": 960 * 960}, {"media": "image", "model": "yolov8l"})
    found = quote(load_book(till.session, NOW), tenant="t", engine="detect", work=work)
    assert found.amount == from_number(5.625)
    assert found.card_id == "yolo@1"
    assert [(line.name, line.tokens) for line in found.lines] == [("image", 5.625)]
    assert found.multipliers == ()


def test_a_quote_takes_the_ceilings_of_a_card_that_prices_compute_time(till):
    assign(till.session, tenant="t", engine="face-swap", card="facefusion-gpu")
    work = Work({"images": 1, "faces": 1}, {"media": "image", "enhance_level": 1})
    found = quote(load_book(till.session, NOW), tenant="t", engine="face-swap", work=work)
    assert found.amount == from_number(115)
    stages = ["detect", "embed", "swap", "blend", "enhance", "mask"]
    assert [line.name for line in found.lines] == stages


def test_work_without_anything_to_price_is_refused_not_free(till):
    assign(till.session, tenant="t", engine="detect", card="flat")
    work = Work({"pages": 1}, {"media": "text"})
    with pytest.raises(UnknownPriceError, match="flat@1"):
        quote(load_book(till.session, NOW), tenant="t", engine="detect", work=work)
