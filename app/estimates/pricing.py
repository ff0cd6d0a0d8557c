"""Pricing the items of a batch together: each as a part of the batch that it will be started in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.catalog.service import Catalog
from app.errors import FieldError, InvalidRequestError, ProblemError
from app.files.intake import Intake
from app.jobs.pricing import Estimate, check_token_quota, estimate
from app.jobs.service import check_caller
from app.jobs.spec import JobInput, JobRequest, Ref
from app.tenants.service import Principal
from billing.amounts import MicroTokens

SHOWN_MAX = 50


@dataclass(frozen=True, slots=True)
class Item:
    """A job that can be had; ``position`` is its place in the caller's list."""

    position: int
    request: JobRequest  # its inputs are files by now, whatever they were
    engine: str
    model: str
    tokens: MicroTokens
    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class BadItem:
    """A job that cannot be, and why."""

    position: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()


def price_together(
    session: Session,
    *,
    catalog: Catalog,
    intake: Intake,
    caller: Principal,
    requests: Sequence[tuple[int, JobRequest]],
    now: datetime,
) -> tuple[list[Item], list[BadItem]]:
    """Price every item for a batch of as many as can be had; returns those and the others.

    Items that cannot be had do not count for the batch discount, so after some were left out the
    others are priced once more.
    """
    bad: list[BadItem] = []
    while True:
        priced = [
            _price(
                session,
                catalog=catalog,
                intake=intake,
                caller=caller,
                asked=asked,
                batch_items=len(requests),
                now=now,
            )
            for asked in requests
        ]
        good = [each for each in priced if isinstance(each, Item)]
        bad += [each for each in priced if isinstance(each, BadItem)]
        if len(good) == len(priced):
            return good, bad
        requests = [(item.position, item.request) for item in good]


def refusal(bad: Sequence[BadItem], *, of: int) -> InvalidRequestError:
    """The refusal of a whole batch because of these."""
    first = bad[0]
    places = [
        FieldError(f"/items/{item.position}{error.pointer}", error.detail, error.code)
        for item in bad
        for error in item.errors or (FieldError("", item.detail, item.code),)
    ]
    detail = (
        f"Item {first.position}: {first.detail} {len(bad)} of {of} items are wrong; correct them, "
        'or send "on_invalid": "skip".'
    )
    return InvalidRequestError(detail, code=first.code, errors=places[:SHOWN_MAX])


def _price(
    session: Session,
    *,
    catalog: Catalog,
    intake: Intake,
    caller: Principal,
    asked: tuple[int, JobRequest],
    batch_items: int,
    now: datetime,
) -> Item | BadItem:
    position, request = asked
    try:
        check_caller(catalog, caller, request)
        found = estimate(
            session,
            catalog=catalog,
            intake=intake,
            request=request,
            batch_items=batch_items,
            now=now,
        )
        catalog.require_weights(found.prepared.model)
        check_token_quota(found.quote, request.token_quota)
    except ProblemError as error:
        return BadItem(position, error.code, error.detail, error.errors)
    return _item(position, request, found)


def _item(position: int, request: JobRequest, found: Estimate) -> Item:
    target, sources = found.files.target.id, [source.id for source in found.files.sources]
    files = JobInput(target=Ref(file=target), source=[Ref(file=source) for source in sources])
    return Item(
        position=position,
        request=request.model_copy(update={"input": files}),
        engine=found.prepared.engine,
        model=found.prepared.model.id,
        tokens=found.quote.amount,
        files=frozenset({target, *sources}),
    )
