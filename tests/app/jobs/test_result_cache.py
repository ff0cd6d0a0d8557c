"""What makes two jobs the same question."""

from typing import Any

import pytest

from app.jobs.result_cache import cache_key

ASKED: dict[str, Any] = {
    "engine": "detect",
    "model": "yolov8n@1",
    "params": {"conf": 0.25, "img_size": None},
    "inputs": [["aa"], []],
    "release": "1.0",
}


def test_the_order_of_parameters_does_not_matter() -> None:
    turned = {**ASKED, "params": {"img_size": None, "conf": 0.25}}
    assert cache_key(**turned) == cache_key(**ASKED)


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "colorize"},
        {"model": "yolov8n@2"},
        {"params": {"conf": 0.3, "img_size": None}},
        {"params": {"conf": 0.25, "img_size": 640}},
        {"inputs": [["ab"], []]},
        {"inputs": [[], ["aa"]]},
        {"inputs": [["aa"], ["aa"]]},
        {"release": "1.1"},
    ],
)
def test_every_difference_in_the_question_is_another_key(change: dict[str, Any]) -> None:
    assert cache_key(**{**ASKED, **change}) != cache_key(**ASKED)


def test_sources_in_another_order_are_another_question() -> None:
    one = {**ASKED, "inputs": [["aa"], ["b", "c"]]}
    other = {**ASKED, "inputs": [["aa"], ["c", "b"]]}
    assert cache_key(**one) != cache_key(**other)
