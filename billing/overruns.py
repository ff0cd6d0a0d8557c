"""What the house paid for: prices above their holds, and charges that somebody should look at."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens


@dataclass(frozen=True, slots=True)
class Overruns:
    """The charges of one card, engine and model."""

    card_id: str
    engine: str
    model: str
    jobs: int  # all of them
    overrun_jobs: int  # whose price was above the hold
    absorbed: MicroTokens  # the part of their prices above it
    quarantined_jobs: int  # impossible compute time
    unpriced_jobs: int  # the card could not price what was measured


_OVERRUNS = text(
    """
    SELECT c.card || '@' || c.card_version AS card_id, u.engine, u.model, count(*) AS jobs,
           count(*) FILTER (WHERE c.absorbed > 0) AS overrun_jobs,
           sum(c.absorbed)::bigint AS absorbed,
           count(*) FILTER (WHERE c.status = 'quarantined') AS quarantined_jobs,
           count(*) FILTER (WHERE c.status = 'unpriced') AS unpriced_jobs
      FROM billing.charge c JOIN billing.usage_record u ON u.job = c.job
     WHERE c.settled_at >= :since AND c.settled_at < :until
     GROUP BY c.card, c.card_version, u.engine, u.model
     ORDER BY absorbed DESC, card_id, u.engine, u.model
    """
)


def overruns(session: Session, *, since: datetime, until: datetime) -> list[Overruns]:
    """Charges settled from ``since`` to before ``until``, the dearest overruns first."""
    rows = session.execute(_OVERRUNS, {"since": since, "until": until}).mappings()
    return [Overruns(**row) for row in rows]
