"""Refusals in the form that ComfyUI's clients read."""

from collections.abc import Mapping
from typing import Any

from app.errors import ProblemError
from billing.errors import BillingError

# What every node and prompt error has: type, message, details, extra_info.
ErrorBody = dict[str, Any]
# By node: {"errors": [...], "dependent_outputs": [...], "class_type": ...}.
NodeErrors = Mapping[str, dict[str, Any]]


def error_body(kind: str, message: str, details: str = "", **extra_info: object) -> ErrorBody:
    """One error as ComfyUI writes it."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


class PromptError(Exception):
    """Raised when a prompt is refused as a whole; nothing was made and nothing is held."""

    def __init__(
        self, error: ErrorBody, *, node_errors: NodeErrors | None = None, status: int = 400
    ) -> None:
        super().__init__(error["message"])
        self.error = error
        self.node_errors = dict(node_errors or {})
        self.status = status

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": self.error, "node_errors": self.node_errors}


def invalid_prompt(message: str, details: str = "") -> PromptError:
    """The prompt is not one."""
    return PromptError(error_body("invalid_prompt", message, details))


def refusal_body(refusal: ProblemError | BillingError) -> ErrorBody:
    """What the platform says no with, under its stable code."""
    return error_body(refusal.code, _title(refusal), refusal.detail, code=refusal.code)


def refused(refusal: ProblemError | BillingError, *, status: int = 400) -> PromptError:
    """A refusal that belongs to no node."""
    return PromptError(refusal_body(refusal), status=status)


def _title(refusal: ProblemError | BillingError) -> str:
    if isinstance(refusal, ProblemError):
        return f"{refusal.title}: {refusal.detail}"
    return refusal.detail
