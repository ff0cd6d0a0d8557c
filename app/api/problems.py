"""RFC 9457 answers: every refusal and every accident leaves the API in one shape.

``to_problem`` translates each family of exceptions once; ``render`` writes the document. The stack
of an unexpected exception goes to the log under the request id and never to the caller.
"""

import errno
import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from apiflask.exceptions import HTTPError
from flask import Flask, Response, request
from gunicorn.http.errors import NoMoreData, ParseException
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from app.api.request_id import current_request_id
from app.api.validation import validation_problem
from app.errors import InvalidRequestError, ProblemError, UnavailableError
from app.storage import StorageUnavailableError
from billing.errors import BillingError
from engines.errors import EngineError, ExhaustedError, InvalidInputError

MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger("pixelmeter.api")

# What billing says, as statuses. A code that is not here is ours to fix: 500.
BILLING_STATUS = {
    "insufficient_tokens": 402,
    "price_missing": 422,
    "invalid_amount": 422,
    "invalid_rate_card": 422,
    "negative_price": 422,
    "rate_card_frozen": 409,
    "rate_card_overlap": 409,
    "invalid_pricing_rule": 422,
    "pricing_rule_overlap": 409,
    "effective_in_past": 422,
    "effective_too_late": 422,
    "offer_not_found": 404,
    "invoice_not_found": 404,
    "month_not_over": 422,
    "idempotency_mismatch": 409,
    "approval_not_found": 404,
    "self_approval": 403,
    "approval_decided": 409,
    "approval_expired": 409,
    "cap_reached": 402,
    "tenant_frozen": 403,
    "recharge_not_found": 404,
    "recharge_booked": 409,
    "recharge_refused": 409,
    "debt_above_limit": 409,
    "payment_above_debt": 409,
    "charge_not_found": 404,
    "refund_exceeds_charge": 409,
    "entry_not_found": 404,
    "grant_not_found": 404,
    "not_reversible": 409,
    "already_reversed": 409,
    "reversal_impossible": 409,
    "revocation_exceeds_grant": 409,
    "hold_not_open": 409,
    "invalid_grant_rule": 422,
    "grant_rule_not_found": 404,
    "name_taken": 409,
}

# The framework's refusals: code and the way out. Others get the name of their status.
HTTP_PROBLEMS: Mapping[int, tuple[str, str]] = {
    400: ("malformed_request", "The request could not be read. Check its framing and encoding."),
    404: ("route_not_found", "There is no such address. See /openapi.json for the routes."),
    405: ("method_not_allowed", "This address does not take this method; see the Allow header."),
    408: ("request_timeout", "The request did not arrive in time. Send it again."),
    413: ("body_too_large", "The body is over the limit of this address. Send less."),
    414: ("uri_too_long", "The address is too long. Shorten the query."),
    415: ("unsupported_media_type", "This address takes another Content-Type."),
    416: ("range_not_satisfiable", "The range lies outside the file. Ask for a part of it."),
    431: ("headers_too_large", "The headers are too large. Send fewer or shorter ones."),
}


def to_problem(error: Exception) -> ProblemError:
    """Translate any exception into the one family the edge answers with."""
    match error:
        case ProblemError():
            problem = error
        case BillingError():
            problem = _billing_problem(error)
        case EngineError():
            problem = _engine_problem(error)
        case HTTPError():
            problem = _framework_problem(error)
        case HTTPException():
            problem = _http_problem(error.code or 500)
        case ParseException() | NoMoreData():
            detail = "The body's transfer coding is malformed. Check the chunk sizes and endings."
            problem = InvalidRequestError(detail, code="malformed_body", status=400)
        case _:
            problem = _accident(error)
    return problem


def _billing_problem(error: BillingError) -> ProblemError:
    status = BILLING_STATUS.get(error.code, 500)
    problem = ProblemError(error.detail, code=error.code, status=status)
    problem.title = HTTPStatus(status).phrase
    return problem


def _engine_problem(error: EngineError) -> ProblemError:
    match error:
        case InvalidInputError():
            return InvalidRequestError(error.detail, code=error.code)
        case ExhaustedError():
            return UnavailableError(error.detail, code=error.code)
        case _:
            return ProblemError(error.detail, code=error.code)


def _framework_problem(error: HTTPError) -> ProblemError:
    """APIFlask wraps pydantic's findings; the original tells the places."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        location = next(iter(error.detail), "json") if isinstance(error.detail, dict) else "json"
        document = request.get_json() if location == "json" else request.args
        return validation_problem(cause, document, location=location)
    return _http_problem(error.status_code)


def _http_problem(status: int) -> ProblemError:
    phrase = HTTPStatus(status).phrase
    fallback = (phrase.lower().replace(" ", "_"), f"{phrase}.")
    code, detail = HTTP_PROBLEMS.get(status, fallback)
    problem = ProblemError(detail, code=code, status=status)
    problem.title = phrase
    return problem


def _accident(error: Exception) -> ProblemError:
    """Something we depend on is away, or the code is wrong: both are logged, only one explained."""
    match error:
        case PoolTimeoutError():
            detail = "All database connections are busy. Send the request again in a moment."
            problem = UnavailableError(detail, code="overloaded", retry_after_s=1)
        case OperationalError() | DBAPIError(connection_invalidated=True):
            detail = "The database cannot be reached. Send the request again in a moment."
            problem = UnavailableError(detail, code="database_unavailable", retry_after_s=2)
        case OSError(errno=errno.ENOSPC):
            detail = "The file storage is full. The operators have been told; try again later."
            problem = UnavailableError(detail, code="storage_full", status=507, retry_after_s=60)
        case StorageUnavailableError():
            detail = "The file storage cannot be reached. Send the request again in a moment."
            problem = UnavailableError(detail, code="storage_unavailable", retry_after_s=5)
        case _:
            detail = "An unexpected error happened and was logged. Give the request_id to support."
            logger.error("unexpected error", exc_info=error)
            return ProblemError(detail)
    logger.warning("%s: %s", problem.code, error)
    return problem


def problem_document(problem: ProblemError, *, instance: str, request_id: str) -> dict[str, Any]:
    """The body of the answer."""
    return {
        "type": f"/docs#{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code,
        "request_id": request_id,
        "retryable": problem.retryable,
        "errors": [
            {"pointer": place.pointer, "detail": place.detail, "code": place.code}
            for place in problem.errors
        ],
    }


def render(problem: ProblemError) -> Response:
    """Write the answer for the request at hand."""
    document = problem_document(problem, instance=request.path, request_id=current_request_id())
    response = Response(json.dumps(document), status=problem.status, content_type=MEDIA_TYPE)
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="pixelmeter"'
    return response


def register_problems(app: Flask) -> None:
    """Answer every exception of this app with a problem document."""

    def answer(error: Exception) -> Response:
        response = render(to_problem(error))
        if isinstance(error, HTTPException):
            _keep_protocol_headers(error, response)
        return response

    # APIFlask brings handlers for its own errors; ours must stand at the same classes.
    for kind in (Exception, HTTPException, HTTPError):
        app.register_error_handler(kind, answer)


def _keep_protocol_headers(error: HTTPException, response: Response) -> None:
    for name, value in error.get_headers():
        if name in {"Allow", "Content-Range", "Location"}:
            response.headers[name] = value
