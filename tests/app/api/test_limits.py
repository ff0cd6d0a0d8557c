"""Sizes: every address has its own limit, kept before anything is stored."""

from dataclasses import replace

import pytest

from app.api.incoming import body_limit_bytes
from app.settings import Settings
from tests.app.api.callers import Caller, Traces, assert_problem

MIB = 1024 * 1024


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, max_upload_bytes=1000)


@pytest.mark.parametrize(
    ("endpoint", "mimetype", "limit"),
    [
        ("files.upload", "multipart/form-data", 10 * MIB + 65_536),
        ("jobs.create", "multipart/form-data", 10 * MIB + 65_536),
        ("jobs.create", "application/json", 32 * MIB),
        ("quotes.quote", "application/json", 32 * MIB),
        ("quotes.quote", "multipart/form-data", 32 * MIB),
        ("endpoints.create", "application/json", MIB),
        (None, "application/json", MIB),
    ],
)
def test_each_address_has_its_limit(endpoint: str | None, mimetype: str, limit: int) -> None:
    assert body_limit_bytes(endpoint, mimetype, upload_bytes_max=10 * MIB) == limit


def test_the_limits_name_addresses_that_exist(app) -> None:
    from app.api.incoming import INLINE, UPLOADS

    assert set(app.view_functions) >= UPLOADS | INLINE


def test_a_body_over_the_limit_is_refused_unread(caller: Caller, traces: Traces) -> None:
    answer = caller.upload(b"\0" * 100_000)
    assert_problem(answer, status=413, code="body_too_large")
    assert set(traces.look().values()) == {0}


def test_a_file_over_the_limit_inside_a_small_enough_body_is_refused(
    caller: Caller, traces: Traces
) -> None:
    answer = caller.upload(b"\0" * 1001)
    assert_problem(answer, status=413, code="file_too_large")
    assert set(traces.look().values()) == {0}


def test_a_large_text_part_is_refused(caller: Caller) -> None:
    data = {"job": " " * 300_000}
    answer = caller.post("/v1/jobs", data=data, content_type="multipart/form-data")
    assert_problem(answer, status=413, code="body_too_large")


def test_very_many_parts_are_refused(caller: Caller) -> None:
    fields = {f"f{n}": "x" for n in range(100)}
    answer = caller.post("/v1/files", data=fields, content_type="multipart/form-data")
    assert_problem(answer, status=413, code="body_too_large")
