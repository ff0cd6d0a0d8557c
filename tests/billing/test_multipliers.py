"""Which factors apply when, in the order of the price list."""

from datetime import time
from fractions import Fraction

import pytest

from billing.card_data import read_card
from billing.errors import InvalidRuleError
from billing.multipliers import (
    Circumstances,
    Rules,
    multipliers_for,
    multipliers_json,
    read_bands,
    read_multipliers,
    read_percent,
    read_steps,
)
from billing.publishing import card_body, shipped

YOLO = next(
    read_card(card_body(data), card="yolo", version=1)
    for data in shipped()
    if data["card"] == "yolo"
)
NIGHT_AND_EVENING = {
    "bands": [
        {"from": "00:00", "to": "08:00", "factor": "0.8"},
        {"from": "19:00", "to": "23:00", "factor": "1.2"},
    ]
}
LOAD = {"steps": [{"above": "0.8", "factor": "1.25"}, {"above": "0.95", "factor": "1.5"}]}


def factors(rules, **circumstances):
    found = multipliers_for(YOLO, rules, Circumstances(**circumstances))
    return {each.name: float(each.factor) for each in found}


def test_everything_is_off_unless_somebody_published_a_rule():
    assert factors(Rules(), local_time=time(3), busy_share=Fraction(1)) == {}


@pytest.mark.parametrize(
    ("at", "factor"),
    [
        ("00:00", 0.8),
        ("07:59", 0.8),
        ("08:00", None),
        ("18:59", None),
        ("19:00", 1.2),
        ("22:59", 1.2),
        ("23:00", None),
        ("23:59", None),
    ],
)
def test_the_time_of_day_counts_from_its_first_minute_to_before_its_last(at, factor):
    found = factors(Rules(bands=read_bands(NIGHT_AND_EVENING)), local_time=time.fromisoformat(at))
    assert found.get("time_of_day") == factor


@pytest.mark.parametrize(
    ("at", "inside"), [("21:59", False), ("22:00", True), ("05:59", True), ("06:00", False)]
)
def test_a_band_may_run_past_midnight(at, inside):
    bands = read_bands({"bands": [{"from": "22:00", "to": "06:00", "factor": "0.5"}]})
    assert (
        "time_of_day" in factors(Rules(bands=bands), local_time=time.fromisoformat(at))
    ) == inside


def test_midnight_to_midnight_is_the_whole_day():
    bands = read_bands({"bands": [{"from": "00:00", "to": "00:00", "factor": "0.5"}]})
    assert factors(Rules(bands=bands), local_time=time(23, 59)) == {"time_of_day": 0.5}


@pytest.mark.parametrize(
    ("busy", "factor"),
    [("0", None), ("0.8", None), ("0.801", 1.25), ("0.95", 1.25), ("0.96", 1.5), ("1", 1.5)],
)
def test_load_counts_above_each_step(busy, factor):
    found = factors(Rules(steps=read_steps(LOAD)), busy_share=Fraction(busy))
    assert found.get("gpu_load") == factor


def test_without_a_worker_there_is_no_load():
    assert factors(Rules(steps=read_steps(LOAD)), busy_share=None) == {}


def test_the_order_is_batch_time_load_tenant():
    rules = Rules(read_bands(NIGHT_AND_EVENING), read_steps(LOAD), Fraction(90))
    found = multipliers_for(
        YOLO,
        rules,
        Circumstances(
            local_time=time(20), zone="Asia/Shanghai", busy_share=Fraction(9, 10), batch_items=100
        ),
    )
    assert [(each.name, str(each.factor)) for each in found] == [
        ("batch", "9/10"),
        ("time_of_day", "6/5"),
        ("gpu_load", "5/4"),
        ("tenant", "9/10"),
    ]
    assert found[1].detail == "19:00-23:00 Asia/Shanghai"
    assert read_multipliers(multipliers_json(found)) == found


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"bands": None},
        {"bands": ["night"]},
        {"bands": [{"from": "0:00", "to": "08:00", "factor": "1"}]},
        {"bands": [{"from": "24:00", "to": "08:00", "factor": "1"}]},
        {"bands": [{"from": "00:00", "to": "08:00", "factor": "0"}]},
        {"bands": [{"from": "00:00", "to": "08:00", "factor": "-1"}]},
        {"bands": [{"from": "00:00", "to": "08:00", "factor": 0.8}]},
        {"bands": [{"from": "00:00", "to": "08:00", "factor": "1e9"}]},
        {"bands": [{"from": "00:00", "to": "08:00", "factor": "101"}]},
        {"bands": [{"from": "00:00", "to": "08:00"}]},
        {"bands": [{"from": "07:00", "to": "07:00", "factor": "2"}]},
        {"bands": [], "zone": "UTC"},
        {
            "bands": [
                {"from": "00:00", "to": "08:00", "factor": "2"},
                {"from": "07:59", "to": "09:00", "factor": "2"},
            ]
        },
    ],
)
def test_bands_that_cannot_be_are_refused(body):
    with pytest.raises(InvalidRuleError):
        read_bands(body)


@pytest.mark.parametrize(
    "body",
    [
        {"steps": [{"above": "1", "factor": "2"}]},
        {"steps": [{"above": "0.9", "factor": "2"}, {"above": "0.9", "factor": "3"}]},
        {"steps": [{"above": "0.9", "factor": "2"}, {"above": "0.5", "factor": "3"}]},
        {"steps": {}},
    ],
)
def test_a_load_curve_that_cannot_be_is_refused(body):
    with pytest.raises(InvalidRuleError):
        read_steps(body)


@pytest.mark.parametrize("percent", ["0", "-10", "1001", 90, None, "NaN", "80%"])
def test_a_share_of_the_price_that_cannot_be_is_refused(percent):
    with pytest.raises(InvalidRuleError):
        read_percent({"percent": percent})
