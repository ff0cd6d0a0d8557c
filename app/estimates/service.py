"""The customer's half of the writer of estimates: price a batch, ask for its tokens, start it.

``app.estimates.start`` is the other half: it submits the jobs. Nothing here commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.errors import ConflictError, NotFoundError, PaymentRequiredError
from app.estimates.models import Estimate, EstimateItem
from app.estimates.pricing import Item, check_ceiling
from app.files.intake import Intake
from app.files.service import keep_until
from app.ids import new_id
from app.recharges.service import APPROVAL_KIND
from app.secret_box import SecretBox
from app.tenants.models import Tenant
from app.tenants.service import Principal, get_tenant
from billing import approvals, recharges
from billing.amounts import MicroTokens, to_number
from billing.recharges import RechargeLine, RechargeMode, RechargeStatus
from billing.wallets import balance

LIFETIME: Final = timedelta(days=4)  # longer than an approval waits; so long its inputs stay
# Whose approval asks for it: the customer, so that one operator is the second person.
_MAKER: Final = "tenant:{}"


class EstimateStatus(StrEnum):
    """Where an estimate stands; it follows from its times and from its recharge."""

    QUOTED = "quoted"
    AWAITING = "awaiting_approval"  # tokens were asked for
    STARTING = "starting"  # the jobs are being submitted
    STARTED = "started"  # every item is a job or has failed
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Found:
    """An estimate with what it stands at now."""

    estimate: Estimate
    status: EstimateStatus
    available: MicroTokens
    approval: str | None
    items: Sequence[EstimateItem]

    @property
    def shortfall(self) -> MicroTokens:
        """What the balance lacks, before anything started."""
        return MicroTokens(max(0, self.estimate.tokens - self.available))


def create(
    session: Session,
    *,
    box: SecretBox,
    intake: Intake,
    caller: Principal,
    items: Sequence[Item],
    max_tokens: MicroTokens | None,
    forecast: Mapping[str, Any],
    now: datetime,
) -> str:
    """Keep priced items with their inputs; returns the id.

    Raises:
        PaymentRequiredError: code ``token_quota_exceeded``; the total is above ``max_tokens``.
    """
    total = check_ceiling(items, max_tokens)
    estimate_id = new_id("est")
    session.execute(
        insert(Estimate).values(
            id=estimate_id,
            tenant_id=intake.tenant_id,
            api_key_id=caller.key_id,
            items=len(items),
            tokens=total,
            forecast=forecast,
            created_at=now,
            expires_at=now + LIFETIME,
        )
    )
    session.execute(
        insert(EstimateItem),
        [
            {
                "estimate_id": estimate_id,
                "position": item.position,
                "engine": item.found.prepared.engine,
                "model": item.found.prepared.model.id,
                "tokens": int(item.tokens),
                # the quota is the quote: what the job may cost when it starts
                "request": box.encrypt(item.request.model_dump_json(exclude={"token_quota"})),
            }
            for item in items
        ],
    )
    files = sorted({file for item in items for file in item.files})
    keep_until(session, file_ids=files, until=now + LIFETIME)
    return estimate_id


def find(session: Session, *, tenant_id: str, estimate_id: str, now: datetime) -> Found:
    """An estimate of this tenant; raises ``NotFoundError`` with ``estimate_not_found``."""
    return _found(session, _own(session, tenant_id, estimate_id), now=now)


def request_recharge(session: Session, *, tenant_id: str, estimate_id: str, now: datetime) -> Found:
    """Ask an operator for the tokens that are missing; the jobs start when one agrees.

    Raises:
        ConflictError: ``estimate_started``, ``estimate_expired``, ``recharge_requested`` (it waits
            already) or ``balance_sufficient``.
    """
    found = _startable(session, tenant_id, estimate_id, now=now)
    if found.shortfall == 0:
        detail = "The balance covers the estimate. Start it with POST .../start."
        raise ConflictError(detail, code="balance_sufficient")
    tenant = get_tenant(session, tenant_id)
    recharge_id = _ask(session, tenant, found, now=now)
    session.execute(
        update(Estimate).where(Estimate.id == estimate_id).values(recharge_id=recharge_id)
    )
    return find(session, tenant_id=tenant_id, estimate_id=estimate_id, now=now)


def start(session: Session, *, tenant_id: str, estimate_id: str, now: datetime) -> Found:
    """Let the jobs be submitted; the balance has to cover them now.

    Raises:
        PaymentRequiredError: ``insufficient_tokens``.
        ConflictError: ``estimate_started``, ``estimate_expired`` or ``recharge_requested``.
    """
    found = _startable(session, tenant_id, estimate_id, now=now)
    if found.shortfall and get_tenant(session, tenant_id).mode == "prepaid":
        detail = (
            f"The estimate needs {to_number(found.estimate.tokens)} tokens and the wallet has "
            f"{to_number(found.available)}. Top up, or ask with POST .../request-recharge."
        )
        raise PaymentRequiredError(detail, code="insufficient_tokens")
    mark_started(session, estimate_id, now=now)
    return find(session, tenant_id=tenant_id, estimate_id=estimate_id, now=now)


def mark_started(session: Session, estimate_id: str, *, now: datetime) -> None:
    """The tokens are there: the background step submits the jobs. Twice is fine."""
    session.execute(
        update(Estimate)
        .where(Estimate.id == estimate_id, Estimate.started_at.is_(None))
        .values(started_at=now)
    )


def _own(session: Session, tenant_id: str, estimate_id: str, *, lock: bool = False) -> Estimate:
    wanted = select(Estimate).where(Estimate.id == estimate_id, Estimate.tenant_id == tenant_id)
    if lock:
        wanted = wanted.with_for_update()
    own = session.scalars(wanted, execution_options={"populate_existing": True}).one_or_none()
    if own is None:
        raise NotFoundError("There is no such estimate.", code="estimate_not_found")
    return own


def _found(session: Session, own: Estimate, *, now: datetime) -> Found:
    asked = None if own.recharge_id is None else recharges.get(session, own.recharge_id)
    if own.started_at is not None:
        is_done = own.finished_at is not None
        status = EstimateStatus.STARTED if is_done else EstimateStatus.STARTING
    elif asked is not None and asked.status is RechargeStatus.PENDING:
        status = EstimateStatus.AWAITING
    else:
        is_over = own.expires_at <= now
        status = EstimateStatus.EXPIRED if is_over else EstimateStatus.QUOTED
    items = session.scalars(
        select(EstimateItem)
        .where(EstimateItem.estimate_id == own.id)
        .order_by(EstimateItem.position)
        .execution_options(populate_existing=True)
    ).all()
    return Found(
        own,
        status,
        balance(session, own.tenant_id, now=now).available,
        None if asked is None else asked.approval,
        items,
    )


def _startable(session: Session, tenant_id: str, estimate_id: str, *, now: datetime) -> Found:
    """The estimate, locked; raises ``ConflictError`` when it cannot be started any more."""
    own = _own(session, tenant_id, estimate_id, lock=True)
    found = _found(session, own, now=now)
    refusals = {
        EstimateStatus.STARTING: ("estimate_started", "It was started before."),
        EstimateStatus.STARTED: ("estimate_started", "It was started before."),
        EstimateStatus.EXPIRED: ("estimate_expired", "Make a new estimate; this one is too old."),
        EstimateStatus.AWAITING: (
            "recharge_requested",
            "Its tokens were asked for; it starts when an operator agrees.",
        ),
    }
    if found.status in refusals:
        code, detail = refusals[found.status]
        raise ConflictError(detail, code=code)
    return found


def _ask(session: Session, tenant: Tenant, found: Found, *, now: datetime) -> str:
    recharge_id, approval_id = new_id("rch"), new_id("apr")
    maker, reason = _MAKER.format(tenant.id), f"estimate {found.estimate.id}"
    approvals.propose(
        session,
        approval_id=approval_id,
        kind=APPROVAL_KIND,
        subject=recharge_id,
        payload={
            "recharge": recharge_id,
            "estimate": found.estimate.id,
            "tenant": tenant.name,
            "tokens": to_number(found.shortfall),
        },
        maker=maker,
        now=now,
    )
    recharges.record(
        session,
        recharge_id=recharge_id,
        source="estimate",
        mode=RechargeMode.ATOMIC,
        operator=tenant.name,
        reason=reason,
        maker=maker,
        content_sha256="",
        lines=[RechargeLine(row=1, named=tenant.name, tenant=tenant.id, amount=found.shortfall)],
        approval_id=approval_id,
        now=now,
    )
    return recharge_id
