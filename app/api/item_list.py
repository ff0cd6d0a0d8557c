"""Lists of job bodies, as estimates and batches take them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.api.auth import current_principal, current_tenant
from app.api.services import Services
from app.api.validation import validated
from app.errors import InvalidRequestError
from app.estimates.pricing import BadItem, Item, price_together, refusal
from app.files.intake import Intake
from app.jobs.spec import JobRequest, Tokens


class ItemListRequest(BaseModel):
    """Each item is a job body, completed by the defaults; the parent says how many there may be."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    defaults: dict[str, Any] = Field({}, description="fields of a job that items leave out")
    items: list[dict[str, Any]]
    on_invalid: Literal["reject", "skip"] = "reject"
    max_tokens: Tokens | None = Field(None, description="refuse when the total is higher")


def priced(
    kit: Services, intake: Intake, wanted: ItemListRequest
) -> tuple[list[Item], list[BadItem]]:
    """Check and price all items; returns those that can be had and the others, by position.

    Every item is read before anything is fetched. Without ``on_invalid: skip`` one wrong item
    refuses the whole list; with it at least one has to be right.
    """
    requests, misshapen = _requests(wanted)
    if misshapen and (wanted.on_invalid == "reject" or not requests):
        raise refusal(misshapen, of=len(wanted.items))
    good, refused = price_together(
        intake.session,
        catalog=kit.catalog,
        intake=intake,
        caller=current_principal(),
        requests=requests,
        now=intake.now,
    )
    bad = sorted([*misshapen, *refused], key=lambda each: each.position)
    if bad and (wanted.on_invalid == "reject" or not good):
        raise refusal(bad, of=len(wanted.items))
    return good, bad


def forecast_of(kit: Services, session: Session, items: Sequence[Item]) -> dict[str, Any]:
    """How long these items take together, and how long the first of them waits."""
    works = [(item.found.prepared, item.request.priority) for item in items]
    told, _ = kit.outlook.forecast(session, tenant_id=current_tenant(), works=works)
    return told


def _requests(wanted: ItemListRequest) -> tuple[list[tuple[int, JobRequest]], list[BadItem]]:
    """The items as jobs, and those that are none."""
    good, bad = [], []
    for position, item in enumerate(wanted.items):
        try:
            good.append((position, validated(JobRequest, _merged(wanted.defaults, item))))
        except InvalidRequestError as error:
            bad.append(BadItem(position, error.code, error.detail, error.errors))
    return good, bad


def _merged(defaults: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """What the item says, then the defaults; objects such as ``params`` field by field."""
    merged = {**defaults, **item}
    for name, value in defaults.items():
        if isinstance(value, dict) and isinstance(item.get(name), dict):
            merged[name] = {**value, **item[name]}
    return merged
