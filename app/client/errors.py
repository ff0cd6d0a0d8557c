"""What can go wrong between us and the API.

ClientError                the root
+- ConnectionFailedError   no answer; the same call may succeed later
+- WaitTimeoutError        the job did not finish while we waited; it goes on
+- ProblemError            the API said no: status, stable code, sentence
   +- InvalidRequestError      400, 413, 415, 422: change the request
   +- AuthenticationFailedError 401: change the key
   +- PaymentRequiredError     402: not enough tokens, or over the quota
   +- ForbiddenError           403
   +- NotFoundError            404
   +- ConflictError            409
   +- RateLimitedError         429: wait
   +- ServerError              5xx: the API's fault
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


class ClientError(Exception):
    """Raised for every failure of a call; ``str(error)`` is a sentence for a person."""


class ConnectionFailedError(ClientError):
    """Raised when no answer came, after every retry; the request may or may not have arrived."""


class WaitTimeoutError(ClientError):
    """Raised when a job is not finished in time; waiting again is fine."""


@dataclass(frozen=True, slots=True)
class Place:
    """One wrong place in the request."""

    pointer: str  # JSON pointer
    detail: str


class ProblemError(ClientError):
    """Raised when the API refuses; ``code`` is stable, ``detail`` says what to do."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        retryable: bool,
        request_id: str | None,
        places: Sequence[Place],
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.request_id = request_id
        self.places = tuple(places)
        lines = [f"{detail} [{code}]", *(f"  {place.pointer}: {place.detail}" for place in places)]
        super().__init__("\n".join(lines))


class InvalidRequestError(ProblemError):
    """Raised for 400, 413, 415 and 422: the same request never helps."""


class AuthenticationFailedError(ProblemError):
    """Raised for 401: the key is missing, malformed, unknown, revoked or expired."""


class PaymentRequiredError(ProblemError):
    """Raised for 402: the balance or the caller's own quota does not cover the quote."""


class ForbiddenError(ProblemError):
    """Raised for 403: known, but not allowed."""


class NotFoundError(ProblemError):
    """Raised for 404: unknown, or somebody else's."""


class ConflictError(ProblemError):
    """Raised for 409: the state of the record says no."""


class RateLimitedError(ProblemError):
    """Raised for 429: the same request helps later."""


class ServerError(ProblemError):
    """Raised for 5xx: ours; the same request may help later."""


_BY_STATUS: Mapping[int, type[ProblemError]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationFailedError,
    HTTPStatus.PAYMENT_REQUIRED: PaymentRequiredError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
}


def problem_of(status: int, document: Mapping[str, Any], *, request_id: str | None) -> ProblemError:
    """Turn a problem document into the error that fits its status.

    An answer that is no problem document (a proxy's page) keeps its status and gets the code
    ``unexpected_answer``.
    """
    fallback = ServerError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else InvalidRequestError
    kind = _BY_STATUS.get(status, fallback)
    return kind(
        status=status,
        code=str(document.get("code", "unexpected_answer")),
        detail=str(document.get("detail", f"The server answered with status {status}.")),
        retryable=bool(document.get("retryable", False)),
        request_id=document.get("request_id", request_id),
        places=[
            Place(pointer=str(entry.get("pointer", "")), detail=str(entry.get("detail", "")))
            for entry in document.get("errors", ())
        ],
    )
