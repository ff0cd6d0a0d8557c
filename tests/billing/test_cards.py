from datetime import timedelta

import pytest
from sqlalchemy import text

from billing.cards import (
    ANY_ENGINE,
    EVERYBODY,
    assign,
    assignments_of,
    load_book,
    publish_catalogue,
    split_id,
    unassign,
)
from billing.errors import InvalidCardError, UnknownPriceError
from tests.billing.till import NOW


def test_every_shipped_engine_has_a_card(till):
    book = load_book(till.session, NOW)
    cards = {engine: book.card_for("anyone", engine).id for engine in ("face-swap", "colorize")}
    assert cards == {"face-swap": "facefusion@1", "colorize": "ddcolor@2"}
    assert book.card_for("anyone", "detect").id == "yolo@1"
    assert set(book.cards) == {
        "facefusion@1",
        "facefusion-gpu@3",
        "ddcolor@2",
        "yolo@1",
        "flat@1",
    }


def test_publishing_the_catalogue_again_changes_nothing(till):
    assign(till.session, tenant=EVERYBODY, engine="detect", card="flat")
    publish_catalogue(till.session, NOW + timedelta(days=1))
    assert till.session.scalar(text("SELECT count(*) FROM billing.rate_card_version")) == 5
    assert load_book(till.session, NOW).card_for("t", "detect").card == "flat"


def test_a_tenant_can_have_a_card_of_its_own(till):
    assign(till.session, tenant="t", engine="detect", card="flat")
    book = load_book(till.session, NOW)
    assert book.card_for("t", "detect").card == "flat"
    assert book.card_for("u", "detect").card == "yolo"


def test_a_tenant_can_be_on_one_card_for_everything_it_prices(till):
    assign(till.session, tenant="t", engine=ANY_ENGINE, card="flat")
    assign(till.session, tenant="t", engine="colorize", card="ddcolor")
    book = load_book(till.session, NOW)
    cards = {book.card_for("t", engine).card for engine in ("detect", "face-swap", "anything")}
    assert cards == {"flat"}
    assert book.card_for("t", "colorize").card == "ddcolor"
    assert assignments_of(till.session, "t") == {"*": "flat", "colorize": "ddcolor"}
    unassign(till.session, tenant="t", engine=ANY_ENGINE)
    assert load_book(till.session, NOW).card_for("t", "detect").card == "yolo"


def test_a_card_for_everything_counts_only_where_it_prices(till):
    assign(till.session, tenant="t", engine=ANY_ENGINE, card="ddcolor")
    assert load_book(till.session, NOW).card_for("t", "detect").card == "yolo"


def test_an_engine_without_a_card_is_refused(till):
    with pytest.raises(UnknownPriceError):
        load_book(till.session, NOW).card_for("t", "translate")


@pytest.mark.parametrize(("name", "card"), [("detect", "nothing"), ("detect", "ddcolor")])
def test_a_card_that_does_not_fit_is_not_assigned(till, name, card):
    with pytest.raises(InvalidCardError):
        assign(till.session, tenant="t", engine=name, card=card)


def test_an_unknown_version_is_refused(till):
    with pytest.raises(UnknownPriceError):
        load_book(till.session, NOW).card("flat@9")


@pytest.mark.parametrize("card_id", ["", "flat", "@1", "flat@", "flat@x", "flat@-1"])
def test_what_is_no_card_id_is_refused(card_id):
    with pytest.raises(UnknownPriceError):
        split_id(card_id)
