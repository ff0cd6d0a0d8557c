"""Everything the product says no with: one class per stable code.

    ProblemError                    the root; carries status, code, detail, pointers
    +- InvalidRequestError 400/422  the caller's input: fix it and send it again
    +- AuthenticationError 401      who are you
    +- PaymentRequiredError 402     the wallet or the quota says no
    +- ForbiddenError      403      known, but not allowed
    +- NotFoundError       404      unknown id, or somebody else's
    +- ConflictError       409      the state of the record says no
    +- TooLargeError       413      over a limit
    +- RateLimitedError    429      too often: wait, then go on
    +- UnavailableError    503/507  ours, retry helps

Codes are public and stable: ``app/api/README.md`` lists each one and a test keeps the list whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong place in the request."""

    pointer: str  # RFC 6901 JSON pointer, "" for the whole body
    detail: str
    code: str = "invalid"


class ProblemError(Exception):
    """Raised wherever a request or a job is refused; becomes an RFC 9457 answer at the edge."""

    status = 500
    code = "internal_error"
    title = "Something went wrong on our side"
    retryable = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        status: int | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status


class InvalidRequestError(ProblemError):
    """Raised when the caller's input cannot be accepted; the same input never will be."""

    status = 422
    code = "invalid_request"
    title = "The request is not valid"


class AuthenticationError(ProblemError):
    """Raised when the credential is missing, malformed, unknown or revoked."""

    status = 401
    code = "unauthenticated"
    title = "Authentication is required"


class PaymentRequiredError(ProblemError):
    """Raised when the balance or the caller's own token quota does not cover the quote."""

    status = 402
    code = "insufficient_tokens"
    title = "Not enough tokens"


class ForbiddenError(ProblemError):
    """Raised when the caller is known but may not do this."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFoundError(ProblemError):
    """Raised for an unknown id and for another tenant's id alike."""

    status = 404
    code = "not_found"
    title = "Not found"


class ConflictError(ProblemError):
    """Raised when the record's present state forbids the change."""

    status = 409
    code = "conflict"
    title = "The request conflicts with the present state"


class TooLargeError(ProblemError):
    """Raised when a body, a file or a picture is over its limit."""

    status = 413
    code = "too_large"
    title = "Too large"


class RateLimitedError(ProblemError):
    """Raised when something is asked for too often; the same request helps after a while."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"
    retryable = True


class UnavailableError(ProblemError):
    """Raised when something we depend on is away; the same request may succeed later."""

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"
    retryable = True
