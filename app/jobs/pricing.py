"""What a requested job would be: its inputs, the most work, the quote.

Nothing is written here except the inputs that a request brings along.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from app.catalog.service import Catalog, PreparedWork
from app.errors import FieldError, PaymentRequiredError
from app.files.intake import Intake
from app.jobs.inputs import JobFiles, brings_files, resolve_inputs
from app.jobs.spec import JobRequest
from app.jobs.usage import breakdown
from app.weights.service import find_own
from billing.amounts import from_number, to_number
from billing.multipliers import multipliers_json
from billing.quote import Quote


@dataclass(frozen=True, slots=True)
class Estimate:
    """A request with everything that its price and its run depend on."""

    files: JobFiles
    prepared: PreparedWork
    quote: Quote
    own_model_id: str | None  # the model is one of the tenant's own


def estimate(
    session: Session,
    *,
    catalog: Catalog,
    intake: Intake,
    request: JobRequest,
    batch_items: int = 1,
    now: datetime,
) -> Estimate:
    """Check a request against its engine and media, and price it.

    ``batch_items`` is how many jobs are sent together: a card may make them cheaper.
    """
    own = find_own(
        session,
        catalog,
        tenant_id=intake.tenant_id,
        engine=request.engine,
        model=request.model,
    )
    version = own.version if own else None
    if brings_files(request.input):
        catalog.check(
            engine=request.engine, model=request.model, params=request.params, own=version
        )
    files = resolve_inputs(session, wanted=request.input, intake=intake)
    prepared = catalog.prepare(
        engine=request.engine,
        model=request.model,
        params=request.params,
        media=files.media(),
        own=version,
    )
    quote = catalog.quote(
        session,
        tenant_id=intake.tenant_id,
        prepared=prepared,
        batch_items=batch_items,
        now=now,
    )
    return Estimate(
        files=files, prepared=prepared, quote=quote, own_model_id=own.id if own else None
    )


def check_token_quota(quote: Quote, token_quota: Decimal | None) -> None:
    """Refuse a quote above what the caller allowed; raises ``token_quota_exceeded`` (402)."""
    if token_quota is None or quote.amount <= from_number(token_quota):
        return
    raise PaymentRequiredError(
        f"The job is quoted at {to_number(quote.amount)} tokens and token_quota allows "
        f"{token_quota.normalize():f}. Raise the quota or ask for less work.",
        code="token_quota_exceeded",
        errors=[FieldError("/token_quota", f"the quote is {to_number(quote.amount)}")],
    )


def quote_facts(quote: Quote) -> dict[str, Any]:
    """The quote as it is kept with the job and shown.

    ``micro_tokens`` and ``multipliers_exact`` are what settlement takes; clients see numbers.
    """
    tokens = to_number(quote.amount)
    return {
        "tokens": tokens,
        "max_tokens": tokens,
        "rate_card": quote.card_id,
        "micro_tokens": int(quote.amount),
        "terms": breakdown(quote.lines),
        "multipliers": [
            {"name": each.name, "factor": float(each.factor), "detail": each.detail}
            for each in quote.multipliers
        ],
        "multipliers_exact": multipliers_json(quote.multipliers),
    }
