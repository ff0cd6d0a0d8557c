"""Who said that the persons shown agreed: one line per job with a source. Reads only."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Consent:
    """A job, whose word it rests on, and when that was given."""

    job: str
    tenant: str
    engine: str
    basis: str  # request: said with the job; contract: said once for the tenant
    key: str  # that sent the job
    user: str | None  # the tenant's own tag of its end user
    at: datetime


_CONSENTS = text(
    """
    SELECT id AS job, tenant_id AS tenant, engine, consent_basis AS basis, api_key_id AS key,
           end_user AS "user", created_at AS at
      FROM job
     WHERE consent_basis IS NOT NULL
       AND (CAST(:after AS text) IS NULL OR id < :after)
       AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
       AND (CAST(:user AS text) IS NULL OR end_user = :user)
     ORDER BY id DESC LIMIT :limit
    """
)


def consents(
    session: Session,
    *,
    limit: int,
    after: str | None = None,
    tenant_id: str | None = None,
    user: str | None = None,
) -> list[Consent]:
    """One page, newest first; ``after`` is the last job of the page before."""
    values = {"limit": limit, "after": after, "tenant": tenant_id, "user": user}
    return [Consent(**row) for row in session.execute(_CONSENTS, values).mappings()]
