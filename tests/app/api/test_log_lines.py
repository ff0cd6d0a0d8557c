import json
import logging
import sys

import pytest
from flask import Flask

from app.api.log_lines import JsonLines, redact
from app.api.request_id import current_request_id


def record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("pixelmeter.api", logging.INFO, __file__, 1, message, args, None)


@pytest.mark.parametrize(
    "secret",
    [
        "pm_live_A1b2C3d4_0123456789abcdefghijABCDEFGHIJkl_a1B2c3",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "Authorization: Bearer eyJhbGciOi.JIUzI1NiJ9.x",
        "GET /v1/files/f/content?exp=1&sig=dGhlIHNpZ25hdHVyZQ",
    ],
)
def test_secrets_are_blacked_out(secret: str) -> None:
    told = redact(f"before {secret} after")
    assert "[redacted]" in told
    assert told.startswith("before ")
    assert told.endswith(" after")
    for part in ("0123456789abcdef", "MfKQ9r8G", "eyJhbGci", "dGhlIHNp"):
        assert part not in told


def test_a_line_is_one_json_object_with_the_request_id() -> None:
    with Flask("lines").test_request_context(headers={"X-Request-Id": "abc"}):
        current_request_id()
        line = json.loads(JsonLines().format(record("key %s\nsecond line", "pm_live_x")))
    assert line["request_id"] == "abc"
    assert line["event"] == "key [redacted]\nsecond line"
    assert line["level"] == "info"
    assert line["ts"].endswith("+00:00")


def test_a_stack_is_in_the_line_without_its_secrets() -> None:
    try:
        int("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    except ValueError:
        entry = record("failed")
        entry.exc_info = sys.exc_info()
    line = json.loads(JsonLines().format(entry))
    assert "Traceback" in line["stack"]
    assert "MfKQ9r8G" not in line["stack"]
