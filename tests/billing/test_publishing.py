"""Versions of a card follow each other; none ever changes."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing.cards import assign, load_book
from billing.errors import (
    CardFrozenError,
    CardOverlapError,
    EffectivePastError,
    InvalidCardError,
)
from billing.pricing_rules import CATALOGUE
from billing.publishing import proposed, publish, publish_catalogue, shipped, versions
from tests.billing.till import NOW

DAY = timedelta(days=1)


def flat(version=None, **changes):
    data = next(data for data in shipped() if data["card"] == "flat")
    data = {**data, **changes}
    del data["version"]
    return data if version is None else {**data, "version": version}


DEARER = {"rounding": {"quantum": "1", "minimum": "2"}}


def test_a_new_version_prices_from_its_time_and_the_old_one_stays(till):
    card = publish(till.session, flat(**DEARER), effective_from=NOW + DAY, actor="me", now=NOW)
    assert card.id == "flat@2"
    assign(till.session, tenant="t", engine="detect", card="flat")
    assert load_book(till.session, NOW).card_for("t", "detect").version == 1
    assert load_book(till.session, NOW + DAY).card_for("t", "detect").version == 2
    assert load_book(till.session, NOW + DAY).card("flat@1").version == 1


def test_versions_are_listed_with_the_time_in_which_they_price(till):
    publish(till.session, flat(**DEARER), effective_from=NOW + DAY, actor="me", now=NOW)
    newest, oldest = versions(till.session, card="flat")
    assert (oldest.effective_from, oldest.effective_until) == (NOW, NOW + DAY)
    assert (newest.effective_from, newest.effective_until) == (NOW + DAY, None)
    assert (newest.published_by, oldest.published_by) == ("me", CATALOGUE)
    assert [newest.state(NOW), oldest.state(NOW)] == ["scheduled", "current"]
    assert [newest.state(NOW + DAY), oldest.state(NOW + DAY)] == ["current", "past"]


def test_the_same_version_again_changes_nothing(till):
    first = publish(till.session, flat(2, **DEARER), actor="me", now=NOW + DAY)
    again = publish(till.session, flat(2, **DEARER), actor="you", now=NOW + 2 * DAY)
    assert first == again
    assert len(versions(till.session, card="flat")) == 2


def test_a_published_version_cannot_be_published_otherwise(till):
    with pytest.raises(CardFrozenError, match="raise its version"):
        publish(till.session, flat(1, engines=["detect"]), now=NOW + DAY)


@pytest.mark.parametrize("days", [0, 1, 1.999, 2])
def test_a_version_may_not_begin_before_or_with_one_that_is_scheduled(till, days):
    publish(till.session, flat(**DEARER), effective_from=NOW + 2 * DAY, now=NOW)
    with pytest.raises(CardOverlapError):
        publish(till.session, flat(), effective_from=NOW + days * DAY, now=NOW)
    assert publish(till.session, flat(), effective_from=NOW + 3 * DAY, now=NOW).version == 3


def test_a_version_may_not_begin_in_the_past(till):
    with pytest.raises(EffectivePastError):
        publish(till.session, flat(**DEARER), effective_from=NOW, now=NOW + DAY)


def test_no_version_is_left_out(till):
    with pytest.raises(CardOverlapError, match="the next version is 2"):
        publish(till.session, flat(4, **DEARER), now=NOW + DAY)


@pytest.mark.parametrize(
    "changes", [{"card": "No Name"}, {"card": 7}, {"version": 0}, {"version": "2"}, {"terms": []}]
)
def test_data_that_is_no_card_is_refused(till, changes):
    with pytest.raises(InvalidCardError):
        publish(till.session, {**flat(), **changes}, now=NOW + DAY)


def test_the_database_itself_refuses_versions_that_overlap(till):
    publish(till.session, flat(**DEARER), effective_from=NOW + DAY, now=NOW)
    with pytest.raises(IntegrityError, match="overlaps another version"):
        till.session.execute(
            text(
                "INSERT INTO billing.rate_card_version (card, version, effective_from, body)"
                " VALUES ('flat', 3, :at, '{}')"
            ),
            {"at": NOW + DAY / 2},
        )


def test_a_proposed_card_is_not_published(till):
    assert proposed(till.session, flat(**DEARER)).id == "flat@2"
    assert len(versions(till.session, card="flat")) == 1


def test_a_card_that_an_operator_edited_is_the_operators(till, monkeypatch):
    publish(till.session, flat(**DEARER), actor="key_1", now=NOW + DAY)
    newer = [{**flat(9), "default_for": []}]
    monkeypatch.setattr("billing.publishing.shipped", lambda: newer)
    publish_catalogue(till.session, NOW + 2 * DAY)
    assert versions(till.session, card="flat")[0].card.version == 2


def test_an_operators_version_is_in_the_audit_log(till):
    publish(till.session, flat(**DEARER), actor="key_1", now=NOW + DAY)
    action = text("SELECT actor, action, subject FROM billing.audit_action")
    assert till.session.execute(action).one() == ("key_1", "rate_card.publish", "flat@2")


def test_of_two_admins_at_once_the_second_sees_the_first_ones_version(till_to_commit, sessions):
    start, found = Barrier(2), []

    def run(minimum):
        card = flat(rounding={"quantum": "1", "minimum": minimum})
        with sessions.begin() as session:
            start.wait()
            try:
                found.append(publish(session, card, actor="me", now=NOW + DAY).id)
            except CardOverlapError as error:
                found.append(error.code)

    threads = [Thread(target=run, args=(minimum,)) for minimum in ("2", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["flat@2", "rate_card_overlap"]
