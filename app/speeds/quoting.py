"""A quote with what is likely beside what is possible: the price at most, and the time."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.catalog.service import Catalog
from app.files.intake import Intake
from app.jobs.pricing import estimate, quote_facts
from app.jobs.spec import JobRequest
from app.speeds.outlook import Outlook
from billing.amounts import MicroTokens, to_number
from billing.wallets import balance


def quote_request(
    session: Session,
    *,
    catalog: Catalog,
    outlook: Outlook,
    intake: Intake,
    request: JobRequest,
    batch_items: int = 1,
    now: datetime,
) -> dict[str, Any]:
    """The answer of ``POST /v1/quotes``; open the intake with ``keep=False`` so nothing stays.

    A model whose weights are absent can be quoted, a quota is not enforced: only ``submit`` does.
    """
    found = estimate(
        session,
        catalog=catalog,
        intake=intake,
        request=request,
        batch_items=batch_items,
        now=now,
    )
    wallet = balance(session, intake.tenant_id)
    available = wallet.available
    forecast, expected = outlook.forecast(
        session, tenant_id=intake.tenant_id, works=[(found.prepared, request.priority)]
    )
    likely = round(found.quote.amount * expected[0].charged_share)
    facts = quote_facts(found.quote)
    del facts["micro_tokens"], facts["multipliers_exact"]
    return {
        **facts,
        **forecast,
        "estimated_tokens": to_number(MicroTokens(min(likely, found.quote.amount))),
        "model": found.prepared.model.id,
        "balance": to_number(available),
        "balance_after": to_number(available - found.quote.amount),
        "sufficient": available + wallet.credit >= found.quote.amount,
    }
