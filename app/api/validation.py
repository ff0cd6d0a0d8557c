"""From pydantic's findings to places in the caller's own document."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.errors import FieldError, InvalidRequestError
from app.json_body import escape_pointer

Model = TypeVar("Model", bound=BaseModel)

CODES = {"extra_forbidden": "unknown_field", "missing": "missing_field"}
MAX_ERRORS = 50


def validated(model: type[Model], document: Mapping[str, Any]) -> Model:
    """Check a document against a model; raises ``InvalidRequestError``."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise validation_problem(error, document) from None


def validation_problem(
    error: ValidationError, document: object, *, location: str = "json"
) -> InvalidRequestError:
    """Say what is wrong where.

    Unknown names are 400 (``unknown_field``, or ``unknown_parameter`` in a query): nothing the
    product does not know may ride along. Wrong values are 422 ``invalid_request``.
    """
    findings = error.errors(include_url=False, include_context=False, include_input=False)
    places = tuple(_place(finding, document) for finding in findings[:MAX_ERRORS])
    where = "query" if location in {"query", "querystring"} else "body"
    unknown = [place.pointer for place in places if place.code == "unknown_field"]
    if unknown:
        detail = (
            f"Unknown in the {where}: {', '.join(unknown[:5])}. Remove it or check its spelling."
        )
        code = "unknown_parameter" if where == "query" else "unknown_field"
        return InvalidRequestError(detail, code=code, status=400, errors=places)
    first = places[0]
    detail = f"The {where} is not valid at {first.pointer or 'the top'}: {first.detail}"
    return InvalidRequestError(detail, errors=places)


def _place(finding: ErrorDetails, document: object) -> FieldError:
    return FieldError(
        pointer=pointer_to(finding["loc"], document),
        detail=finding["msg"],
        code=CODES.get(finding["type"], finding["type"]),
    )


def pointer_to(loc: Sequence[int | str], document: object) -> str:
    """A JSON pointer into ``document``: pydantic's path without the names of union members."""
    pointer, here = "", document
    for position, part in enumerate(loc):
        found, below = _step(here, part)
        names_a_missing_member = position == len(loc) - 1 and isinstance(here, Mapping)
        if found or names_a_missing_member:
            pointer += f"/{escape_pointer(str(part))}"
            here = below
    return pointer


def _step(here: object, part: int | str) -> tuple[bool, object]:
    if isinstance(here, Mapping) and part in here:
        return True, here[part]
    if isinstance(here, list) and isinstance(part, int) and part < len(here):
        return True, here[part]
    return False, here
