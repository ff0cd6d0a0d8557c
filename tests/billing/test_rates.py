"""Every worked example of the price list, from the shipped cards."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.amounts import to_number
from billing.card_data import read_card
from billing.cards import shipped
from billing.errors import InvalidWorkError, UnknownPriceError
from billing.rates import Work, evaluate

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


def face(level=1, *, extra=0, cached=0):
    quantities = {"images": 1, "faces": 1 + extra, "extra_faces": extra}
    return price(
        "facefusion",
        {**quantities, "cached_embeddings": cached},
        media="image",
        enhance_level=level,
    )


def video(seconds, width, height, *, level=1, extra=0, frames=None):
    frames = frames or round(seconds * 25)
    return price(
        "facefusion",
        {"seconds": seconds, "frames": frames, "extra_faces": extra * frames},
        media="video",
        enhance_level=level,
        width=width,
        height=height,
    )


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (face(), 6),
        (face(2), 9),
        (face(3), 11),
        (face(2, extra=2), 19),
        (face(cached=1), 3),
        (face(cached=2), 1),
        (face(cached=9), 1),
        (video(10, 1280, 720), 2000),
        (video(10, 1920, 1080), 4500),
        (video(10, 1280, 720, level=2), 3000),
        (video(10, 1280, 720, level=3), 3667),
        (video(10, 1280, 720, extra=1), 3667),
        (video(10, 1280, 720, level=2, extra=2), 6333),
        (video(1 / 25, 1280, 720, frames=1), 8),
    ],
)
def test_face_fusion_costs_what_the_list_says(tokens, expected):
    assert tokens == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ({"detect": 20, "embed": 30, "swap": 60, "blend": 10}, 7),
        ({"detect": 10}, 1),
        ({"detect": 9.99}, 0),
        ({"swap": 29, "blend": 0.5}, 2),
    ],
)
def test_face_fusion_by_compute_time_adds_up_its_stages(stages, expected):
    quantities = {f"gpu_ms.{stage}": ms for stage, ms in stages.items()}
    assert price("facefusion-gpu", {**quantities, "gpu_ms": sum(stages.values())}) == expected


@pytest.mark.parametrize(
    ("width", "height", "kind", "upscaled", "expected"),
    [
        (800, 600, "person", 0, 11),
        (1920, 1080, "building", 0, 19),
        (1920, 1080, "building", 1, 24),
        (1920, 1080, "auto", 0, 19),
        (10, 10, "person", 0, 10),
    ],
)
def test_colourising_costs_what_the_list_says(width, height, kind, upscaled, expected):
    quantities = {"images": 1, "megapixels": width * height / 1_000_000, "upscaled": upscaled}
    assert price("ddcolor", quantities, media="image", type=kind) == expected


@pytest.mark.parametrize(
    ("size", "model", "expected"),
    [
        (640, "yolov8s", 1),
        (960, "yolov8l", 5.625),
        (320, "yolov8n", 0.175),
        (640, "yolov8n", 0.7),
        (640, "yolov8m", 1.8),
        (640, "yolov8x", 4),
        (416, "yolox-nano", 0.211),
        (640, "builtin", 0.3),
        (32, "yolov8n", 0.01),
    ],
)
def test_detection_costs_what_the_list_says(size, model, expected):
    work = {"images": 1, "input_pixels": size * size}
    assert price("yolo", work, media="image", model=model) == expected


def test_a_video_is_detected_at_the_image_price_of_every_frame():
    work = {"frames": 250, "input_pixels": 416 * 416}
    assert price("yolo", work, media="video", model="yolox-nano") == 250 * 0.211


def test_the_simple_list_counts_images_and_seconds():
    assert price("flat", {"images": 1, "input_pixels": 9}, media="image") == 1
    assert price("flat", {"seconds": 10.04, "frames": 251}, media="video") == 100.4


def test_the_batch_discount_steps_at_10_100_and_1000():
    steps = {items: CARDS["yolo"].batch_discount(items) for items in (1, 9, 10, 99, 100, 999, 1000)}
    assert list(steps.values()) == [0, 0, 5, 5, 10, 10, 15]
    assert CARDS["flat"].batch_discount(1000) == 0


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
        ("facefusion-gpu", {"gpu_ms.enhance": 5}, {}),
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
