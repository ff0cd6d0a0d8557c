"""The shipped cards: every worked example of the price list, and what no card may do."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.amounts import to_number
from billing.card_data import read_card
from billing.cards import shipped
from billing.errors import InvalidWorkError, UnknownPriceError
from billing.rates import Multiplier, Work, at_most, evaluate
from tests.billing.worked_examples import BATCHES, EXAMPLES

CARDS = {
    data["card"]: read_card(
        {key: value for key, value in data.items() if key not in {"card", "version"}},
        card=data["card"],
        version=data["version"],
    )
    for data in shipped()
}


def price(card, quantities, **attributes):
    return to_number(evaluate(CARDS[card], Work(quantities, attributes)).amount)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_worked_examples_of_the_price_list(example):
    assert price(example.card, example.quantities, **example.attributes) == example.tokens


def test_a_single_frame_is_a_25th_of_a_second():
    work = {"seconds": 1 / 25, "frames": 1, "extra_faces": 0}
    attributes = {"media": "video", "enhance_level": 1, "width": 1280, "height": 720}
    assert price("facefusion", work, **attributes) == 8


def test_each_frame_of_a_video_is_rounded_like_a_picture():
    work = {"frames": 250, "input_pixels": 416 * 416}
    assert price("yolo", work, media="video", model="yolox-nano") == 250 * 0.211


def test_the_batch_discount_steps_at_10_100_and_1000():
    steps = {items: CARDS["yolo"].batch_discount(items) for items in (1, 9, 10, 99, 100, 999, 1000)}
    assert list(steps.values()) == [0, 0, 5, 5, 10, 10, 15]
    assert CARDS["flat"].batch_discount(1000) == 0


@pytest.mark.parametrize(("items", "tokens"), BATCHES)
def test_a_batch_is_cheaper_per_item(items, tokens):
    work = Work({"images": 1, "input_pixels": 409600}, {"media": "image", "model": "yolov8s"})
    factor = 1 - CARDS["yolo"].batch_discount(items) / 100
    found = evaluate(CARDS["yolo"], work, [Multiplier("batch", factor)])
    assert to_number(found.amount) == tokens


def test_multipliers_act_on_the_exact_sum_in_their_order_and_are_lines_of_the_breakdown():
    work = Work({"images": 1, "megapixels": 0.48}, {"media": "image", "type": "person"})
    factors = [Multiplier("time_of_day", Fraction("1.2")), Multiplier("tenant", Fraction("0.5"))]
    found = evaluate(CARDS["ddcolor"], work, factors)
    assert [(line.name, line.quantity, line.tokens) for line in found.lines] == [
        ("image", 1, 10),
        ("pixels", 0.48, 0.96),
        ("time_of_day", 1.2, 2.192),
        ("tenant", 0.5, -6.576),
        ("minimum", 1, 3.424),
    ]
    assert to_number(found.amount) == 10
    assert found.multipliers == tuple(factors)


def test_a_ceiling_stands_in_for_what_only_a_run_can_measure():
    known = Work({"images": 1, "faces": 2}, {"media": "image"})
    most = at_most(CARDS["facefusion-gpu"], known)
    assert most.quantities["gpu_ms.swap"] == 600
    assert to_number(evaluate(CARDS["facefusion-gpu"], most).amount) == 190
    measured = Work({**known.quantities, "gpu_ms.swap": 20.0})
    assert at_most(CARDS["facefusion-gpu"], measured).quantities["gpu_ms.swap"] == 20
    assert at_most(CARDS["flat"], known) is known


def test_the_breakdown_adds_up_to_the_amount():
    found = evaluate(CARDS["ddcolor"], Work({"images": 1, "megapixels": 0.48}, {"type": "person"}))
    assert [(line.name, line.quantity, line.unit, line.tokens) for line in found.lines] == [
        ("image", 1, "image", 10),
        ("pixels", 0.48, "megapixel", 0.96),
        ("rounding", 1, "job", 0.04),
    ]
    assert found.multipliers == ()


def test_a_minimum_is_a_line_of_its_own():
    work = Work({"images": 1, "cached_embeddings": 2}, {"media": "image", "enhance_level": 1})
    lines = [(line.name, line.tokens) for line in evaluate(CARDS["facefusion"], work).lines]
    assert lines == [("image", 6), ("cached source faces", -6), ("minimum", 1)]


@pytest.mark.parametrize("card", sorted(CARDS))
def test_no_work_costs_nothing_whatever_the_minimum(card):
    assert evaluate(CARDS[card], Work({})).amount == 0
    assert evaluate(CARDS[card], Work({"images": 0}, {"media": "image"})).amount == 0


@pytest.mark.parametrize(
    ("card", "quantities", "attributes"),
    [
        ("yolo", {"images": 1, "input_pixels": 9}, {"media": "image", "model": "yolov9z"}),
        ("yolo", {"images": 1, "input_pixels": 9}, {"media": "image"}),
        ("ddcolor", {"images": 1}, {"type": "cat"}),
        ("facefusion-gpu", {"gpu_ms.dream": 5}, {}),
    ],
)
def test_what_has_no_price_is_refused(card, quantities, attributes):
    with pytest.raises(UnknownPriceError) as caught:
        evaluate(CARDS[card], Work(quantities, attributes))
    assert caught.value.code == "price_missing"


@pytest.mark.parametrize(
    ("card", "quantities"),
    [
        ("flat", {"images": -1}),
        ("flat", {"images": float("nan")}),
        ("flat", {"images": float("inf")}),
        ("yolo", {"images": 1}),
        ("facefusion", {"extra_faces": 5, "seconds": 1}),
    ],
)
def test_impossible_or_incomplete_work_is_refused(card, quantities):
    attributes = {"model": "yolov8n", "width": 64, "height": 64, "enhance_level": 1}
    media = "video" if "seconds" in quantities else "image"
    with pytest.raises(InvalidWorkError):
        evaluate(CARDS[card], Work(quantities, {**attributes, "media": media}))


@given(
    st.fixed_dictionaries(
        {"images": st.integers(0, 50), "extra_faces": st.integers(0, 9)},
        optional={"cached_embeddings": st.integers(0, 99)},
    ),
    st.sampled_from([1, 2, 3]),
)
def test_any_price_is_whole_never_negative_and_the_sum_of_its_lines(quantities, level):
    found = evaluate(
        CARDS["facefusion"], Work(quantities, {"media": "image", "enhance_level": level})
    )
    assert found.amount >= 0
    assert Fraction(found.amount, 1_000_000).denominator == 1
    assert sum(line.amount for line in found.lines) == found.amount


@given(st.floats(0, 1e6, allow_nan=False), st.floats(0, 1e6, allow_nan=False))
def test_more_pixels_never_cost_less(one, other):
    def cost(megapixels):
        return price("ddcolor", {"images": 1, "megapixels": megapixels}, type="person")

    assert cost(min(one, other)) <= cost(max(one, other))
