"""Each family of exceptions as an answer, in a small app with the same handlers."""

import errno
import logging

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from gunicorn.http.errors import InvalidChunkSize, NoMoreData
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.api.problems import register_problems
from app.api.request_id import register_request_ids
from app.errors import (
    ConflictError,
    FieldError,
    InvalidRequestError,
    TooLargeError,
    UnavailableError,
)
from billing.errors import InsufficientTokensError, UnknownPriceError, UnknownWalletError
from engines.errors import EngineFaultError, ExhaustedError, InvalidInputError
from tests.app.api.callers import assert_problem

PLACE = FieldError("/input/target", "is empty", "empty")


@pytest.fixture
def raising() -> FlaskClient:
    app = APIFlask("raising", json_errors=False)
    register_problems(app)
    register_request_ids(app)
    raised: dict[str, Exception] = {}
    app.extensions["raised"] = raised

    @app.get("/raise")
    def fail() -> None:
        raise raised["error"]

    @app.post("/only-post")
    def only_post() -> str:
        return "ok"

    return app.test_client()


def answer_to(client: FlaskClient, error: Exception):
    client.application.extensions["raised"]["error"] = error
    return client.get("/raise")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequestError("no", code="media_unreadable"), 422, "media_unreadable"),
        (InvalidRequestError("no", code="json_empty", status=400), 400, "json_empty"),
        (ConflictError("no"), 409, "conflict"),
        (TooLargeError("no"), 413, "too_large"),
        (UnavailableError("no", retry_after_s=3), 503, "unavailable"),
        (InsufficientTokensError(5_000_000, 1), 402, "insufficient_tokens"),
        (UnknownPriceError("no price"), 422, "price_missing"),
        (UnknownWalletError("no wallet"), 500, "unknown_wallet"),
        (InvalidInputError("no", code="unknown_model"), 422, "unknown_model"),
        (ExhaustedError("no"), 503, "resources_exhausted"),
        (EngineFaultError("no"), 500, "engine_fault"),
        (InvalidChunkSize(b"zz"), 400, "malformed_body"),
        (NoMoreData(), 400, "malformed_body"),
        (PoolTimeoutError("busy"), 503, "overloaded"),
        (OperationalError("SELECT", {}, Exception("gone")), 503, "database_unavailable"),
        (OSError(errno.ENOSPC, "disk full"), 507, "storage_full"),
        (ZeroDivisionError("secret detail"), 500, "internal_error"),
        (OSError(errno.EIO, "secret detail"), 500, "internal_error"),
    ],
)
def test_each_family_has_its_status_and_code(
    raising: FlaskClient, error: Exception, status: int, code: str
) -> None:
    problem = assert_problem(answer_to(raising, error), status=status, code=code)
    assert "secret detail" not in str(problem)


def test_places_are_json_pointers(raising: FlaskClient) -> None:
    answer = answer_to(raising, InvalidRequestError("no", errors=[PLACE]))
    problem = assert_problem(answer, status=422, code="invalid_request")
    assert problem["errors"] == [
        {"pointer": "/input/target", "detail": "is empty", "code": "empty"}
    ]
    assert problem["instance"] == "/raise"
    assert problem["retryable"] is False


def test_retryable_problems_say_when(raising: FlaskClient) -> None:
    answer = answer_to(raising, UnavailableError("later", retry_after_s=7))
    assert answer.headers["Retry-After"] == "7"
    assert answer.json["retryable"] is True


def test_the_stack_goes_to_the_log_and_not_to_the_caller(
    raising: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "pixelmeter.api"):
        answer = answer_to(raising, ZeroDivisionError("secret detail"))
    assert "secret detail" not in answer.text
    assert caplog.records[0].exc_info is not None


def test_an_unknown_address_is_a_problem(raising: FlaskClient) -> None:
    assert_problem(raising.get("/nothing"), status=404, code="route_not_found")


def test_a_wrong_method_names_the_right_ones(raising: FlaskClient) -> None:
    answer = raising.get("/only-post")
    assert_problem(answer, status=405, code="method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_a_harmless_request_id_is_kept(raising: FlaskClient) -> None:
    answer = raising.get("/nothing", headers={"X-Request-Id": "my-id.1_A"})
    assert answer.headers["X-Request-Id"] == "my-id.1_A"


@pytest.mark.parametrize("offered", ["", "a b", "ä", "x" * 129, "a;b", "<script>"])
def test_another_request_id_is_replaced(raising: FlaskClient, offered: str) -> None:
    answer = raising.get("/nothing", headers={"X-Request-Id": offered})
    assert answer.headers["X-Request-Id"].startswith("req_")
