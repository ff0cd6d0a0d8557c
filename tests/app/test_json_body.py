import json
import math

import pytest

from app.errors import InvalidRequestError
from app.json_body import MAX_DEPTH, load, load_object


def refusal(body: bytes) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        load_object(body)
    assert caught.value.status == 400
    json.dumps(caught.value.detail).encode("utf-8")
    return caught.value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json_empty"),
        (b" \n\t", "json_empty"),
        (b"{", "json_invalid"),
        (b"{'a':1}", "json_invalid"),
        (b'{"a":1,}', "json_invalid"),
        (b'{"a":1} x', "json_invalid"),
        (b'{"a":"\x00"}', "json_invalid"),
        (b'{"a":"\n"}', "json_invalid"),
        (b'\xef\xbb\xbf{"a":1}', "json_invalid"),
        (b'{"a":"\xff"}', "json_not_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "json_not_utf8"),
        (b"null", "json_not_object"),
        (b"[]", "json_not_object"),
        (b'"text"', "json_not_object"),
        (b"1", "json_not_object"),
        (b'{"a":NaN}', "json_number_not_finite"),
        (b'{"a":[Infinity]}', "json_number_not_finite"),
        (b'{"a":-Infinity}', "json_number_not_finite"),
        (b'{"a":1e400}', "json_number_not_finite"),
        (b'{"a":-1e999999}', "json_number_not_finite"),
        (b'{"a":' + b"9" * 5000 + b"}", "json_number_too_long"),
        (b'{"a":1,"a":2}', "json_duplicate_key"),
        (b'{"x":{"a":1,"b":1,"a":1}}', "json_duplicate_key"),
        (b'{"a":"\\u0000"}', "json_nul_character"),
        (b'{"\\u0000":1}', "json_nul_character"),
        (b'{"a":["\\ud800"]}', "json_lone_surrogate"),
        (b'{"\\udfff":1}', "json_lone_surrogate"),
        (b'{"a":"\\ude00\\ud83d"}', "json_lone_surrogate"),
        (b"[" * 100_000 + b"]" * 100_000, "json_too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "json_too_deep"),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "json_too_deep"),
        (b"[" * 100_000, "json_too_deep"),
    ],
)
def test_each_malformed_body_has_its_own_code(body: bytes, code: str) -> None:
    assert refusal(body).code == code


def test_the_place_of_a_bad_string_is_a_json_pointer() -> None:
    (place,) = refusal(b'{"a/b":{"c~d":["ok","\\u0000"]}}').errors
    assert place.pointer == "/a~1b/c~0d/1"


def test_a_bad_key_does_not_leak_into_the_answer() -> None:
    (place,) = refusal(b'{"\\ud800":1,"a":"\\u0000"}').errors
    place.pointer.encode("utf-8")


def test_nesting_up_to_the_limit_is_accepted() -> None:
    body = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert "a" in load_object(body)


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    assert load_object(json.dumps({"a": "[" * 500}).encode()) == {"a": "[" * 500}


def test_a_wide_body_is_not_a_deep_one() -> None:
    document = {"items": [{"n": n} for n in range(1000)]}
    assert load_object(json.dumps(document).encode()) == document


def test_ordinary_values_come_back_unchanged() -> None:
    document = {"text": "naïve 😀 \u2028", "n": -12, "x": 1.5e-3, "none": None, "yes": True}
    assert load_object(json.dumps(document).encode()) == document
    assert load_object(json.dumps(document, ensure_ascii=False).encode()) == document


def test_small_numbers_underflow_to_zero_like_any_float() -> None:
    assert math.isclose(load(b"1e-400"), 0.0)
