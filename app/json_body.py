"""Strict JSON: what is refused here never reaches a handler, a price or the database.

The standard parser accepts NaN, Infinity, 1e400, duplicate keys, lone surrogates and NUL, and
gives up with a RecursionError on deep nesting. Each of these is a 400 with its own code here.
Pure: bytes in, dict out; the size limit was kept while the bytes were read.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Never

from app.errors import FieldError, InvalidRequestError

MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 19  # more cannot be a 64-bit number, and long ones cost quadratic time


def load_object(body: bytes) -> dict[str, Any]:
    """Parse a request body that must be one JSON object.

    Raises:
        InvalidRequestError: status 400 and a ``json_*`` code for every other input.
    """
    document = load(body)
    if not isinstance(document, dict):
        detail = "The body must be one JSON object: start it with { and end it with }."
        raise _refusal(detail, code="json_not_object")
    return document


def load(body: bytes) -> object:
    """Parse strict JSON of any type; raises like ``load_object``."""
    if not body.strip():
        detail = "The body is empty. Send a JSON object with Content-Type: application/json."
        raise _refusal(detail, code="json_empty")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"The body is not UTF-8 (byte {error.start}). Encode it as UTF-8."
        raise _refusal(detail, code="json_not_utf8") from None
    document = _parse(text)
    # Strict parsing refuses raw control characters, and UTF-8 cannot carry a surrogate: only
    # an escape can bring either in. Fewer brackets than the limit cannot nest deeper than it.
    if "\\u" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        _check_tree(document)
    return document


def _parse(text: str) -> object:
    try:
        document: object = _STRICT.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        detail = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise _refusal(detail, code="json_invalid") from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        name = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        detail = f"The key {name[:80]!r} appears twice in one object. Send it once."
        raise _refusal(detail, code="json_duplicate_key")
    return members


def _refuse_constant(name: str) -> Never:
    detail = f"{name} is not a JSON number. Send a finite number or null."
    raise _refusal(detail, code="json_number_not_finite")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        detail = f"The number {text[:40]} is too large. Send a finite number."
        raise _refusal(detail, code="json_number_not_finite")
    return number


def _bounded(text: str) -> int:
    if len(text.lstrip("-")) > MAX_INTEGER_DIGITS:
        detail = f"The whole number {text[:24]}... has more than {MAX_INTEGER_DIGITS} digits."
        raise _refusal(detail, code="json_number_too_long")
    return int(text)


def _check_tree(document: object) -> None:
    """Walk without recursion: depth, NUL and surrogates in keys and values."""
    level = [("", document)]
    for _ in range(MAX_DEPTH):
        level = [place for pointer, value in level for place in _containers(value, pointer)]
        if not level:
            return
    raise _too_deep()


def _containers(value: object, pointer: str) -> Iterator[tuple[str, object]]:
    """Check the strings directly under ``value``; yield what is nested one level deeper."""
    if isinstance(value, str):
        _check_text(value, pointer)
    for child_pointer, child in _children(value, pointer):
        if isinstance(child, str):
            _check_text(child, child_pointer)
        elif isinstance(child, (dict, list)):
            yield child_pointer, child


def _children(value: object, pointer: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{pointer}/{index}", item
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, pointer)
            yield f"{pointer}/{escape_pointer(key)}", item


def _check_text(text: str, pointer: str) -> None:
    if "\x00" in text:
        detail = "A string contains the NUL character (\\u0000). Remove it."
        raise _refusal(detail, code="json_nul_character", pointer=pointer)
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            detail = "A string contains half of a surrogate pair. Send whole characters."
            raise _refusal(detail, code="json_lone_surrogate", pointer=pointer) from None


def escape_pointer(key: str) -> str:
    """One reference token of an RFC 6901 JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def _too_deep() -> InvalidRequestError:
    detail = f"The body is nested deeper than {MAX_DEPTH} levels. Flatten it."
    return _refusal(detail, code="json_too_deep")


def _refusal(detail: str, *, code: str, pointer: str | None = None) -> InvalidRequestError:
    places = () if pointer is None else (FieldError(_printable(pointer), detail, code),)
    return InvalidRequestError(detail, code=code, status=400, errors=places)


def _printable(pointer: str) -> str:
    """A pointer may run through a key that is itself unprintable; the answer must not."""
    return pointer.encode("ascii", "backslashreplace").decode("ascii").replace("\x00", "\\u0000")


# Building a decoder costs more than parsing a small body; it keeps no state between calls.
_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_refuse_constant,
    parse_float=_finite,
    parse_int=_bounded,
)
