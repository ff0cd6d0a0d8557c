"""Pricing the items of a batch together: each as a part of the batch that it will be started in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.catalog.service import Catalog
from app.errors import FieldError, InvalidRequestError, PaymentRequiredError, ProblemError
from app.files.intake import Intake
from app.jobs.inputs import brought_addresses, named_files
from app.jobs.pricing import Estimate, check_token_quota, estimate
from app.jobs.service import check_caller
from app.jobs.spec import JobInput, JobRequest, Ref
from app.tenants.service import Principal
from billing.amounts import MicroTokens, to_number

SHOWN_MAX = 50
# A request that fetches takes a thread for as long as other people's servers like.
ADDRESSES_MAX = 50


@dataclass(frozen=True, slots=True)
class Item:
    """A job that can be had; ``position`` is its place in the caller's list."""

    position: int
    request: JobRequest  # its inputs are files by now, whatever they were
    found: Estimate  # what its job will be

    @property
    def tokens(self) -> MicroTokens:
        """The most it can cost."""
        return self.found.quote.amount

    @property
    def files(self) -> frozenset[str]:
        """Ids of its inputs."""
        return frozenset(self.found.files.all_ids())


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
    batch_items: int | None = None,
    now: datetime,
) -> tuple[list[Item], list[BadItem]]:
    """Price every item for a batch of as many as can be had; returns those and the others.

    Items that cannot be had do not count for the batch discount, so after some were left out the
    others are priced once more; unless ``batch_items`` says how many count.

    Raises:
        InvalidRequestError: code ``too_many_addresses``, before anything is fetched.
    """
    _check_addresses(requests)
    intake.desk.known.prefetch(
        session,
        tenant_id=intake.tenant_id,
        file_ids=[file for _, request in requests for file in named_files(request.input)],
        now=now,
    )
    bad: list[BadItem] = []
    while True:
        priced = [
            _price(
                session,
                catalog=catalog,
                intake=intake,
                caller=caller,
                asked=asked,
                batch_items=len(requests) if batch_items is None else batch_items,
                now=now,
            )
            for asked in requests
        ]
        good = [each for each in priced if isinstance(each, Item)]
        bad += [each for each in priced if isinstance(each, BadItem)]
        if len(good) == len(priced) or batch_items is not None:
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


def check_ceiling(items: Sequence[Item], max_tokens: MicroTokens | None) -> MicroTokens:
    """The sum of the quotes; raises ``token_quota_exceeded`` when it is above ``max_tokens``."""
    total = MicroTokens(sum(item.tokens for item in items))
    if max_tokens is not None and total > max_tokens:
        detail = (
            f"The batch is quoted at {to_number(total)} tokens and max_tokens allows "
            f"{to_number(max_tokens)}. Raise it or ask for less work."
        )
        raise PaymentRequiredError(
            detail,
            code="token_quota_exceeded",
            errors=[FieldError("/max_tokens", f"the quote is {to_number(total)}")],
        )
    return total


def _check_addresses(requests: Sequence[tuple[int, JobRequest]]) -> None:
    seen: set[str] = set()
    for position, request in requests:
        seen.update(brought_addresses(request.input))
        if len(seen) > ADDRESSES_MAX:
            detail = (
                f"A batch fetches at most {ADDRESSES_MAX} addresses. Take the others in by "
                'POST /v1/files {"url"} first and name the files.'
            )
            place = FieldError(f"/items/{position}/input", detail, "too_many_addresses")
            raise InvalidRequestError(detail, code="too_many_addresses", errors=[place])


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
    return Item(position, request.model_copy(update={"input": files}), found)
