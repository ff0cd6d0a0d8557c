"""What the dispatcher reads before it decides: capacity, what is out, who waits. Read-only SQL."""

from dataclasses import dataclass

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from app.jobs.states import Priority
from workers.dispatch.selection import Candidate, TenantShare

HEARTBEAT_TIMEOUT_S = 15.0  # three missed beats: the worker counts no more
BUFFER = 2  # messages per slot that may be out: one running, one that waits at the broker
REPUBLISH_AFTER_S = 20.0

_LOADS = text(
    """
    WITH capacity AS (
        SELECT engine.name AS engine, sum(w.capacity)::integer AS capacity
        FROM worker_heartbeat w
            CROSS JOIN LATERAL jsonb_array_elements_text(w.engines) engine(name)
        WHERE w.seen_at > clock_timestamp() - make_interval(secs => :timeout_s)
        GROUP BY engine.name
    ), published AS (
        SELECT engine, count(*) AS published, count(*) FILTER (
            WHERE dispatched_at < clock_timestamp() - make_interval(secs => :stale_s)) AS stale
        FROM job WHERE status = 'queued' AND dispatched_at IS NOT NULL GROUP BY engine
    )
    SELECT engine, coalesce(capacity, 0) AS capacity, coalesce(published, 0) AS published,
        coalesce(stale, 0) AS stale
    FROM capacity FULL JOIN published USING (engine)
    """
)

# One step per lane (class, tenant, engine) that has anything waiting: a skip scan.
_CANDIDATES = text(
    """
    WITH RECURSIVE lanes AS (
        (SELECT priority, tenant_id, engine FROM job
         WHERE status = 'queued' AND dispatched_at IS NULL
         ORDER BY priority, tenant_id, engine LIMIT 1)
        UNION ALL
        SELECT following.* FROM lanes CROSS JOIN LATERAL (
            SELECT priority, tenant_id, engine FROM job
            WHERE status = 'queued' AND dispatched_at IS NULL
                AND (priority, tenant_id, engine) > (lanes.priority, lanes.tenant_id, lanes.engine)
            ORDER BY priority, tenant_id, engine LIMIT 1) following
    )
    SELECT heads.* FROM lanes CROSS JOIN LATERAL (
        SELECT id AS job_id, tenant_id, engine, priority, attempt, estimated_ms, max_runtime_s,
            extract(epoch FROM clock_timestamp() - created_at)::float AS waited_s
        FROM job
        WHERE status = 'queued' AND dispatched_at IS NULL AND cancel_requested_at IS NULL
            AND priority = lanes.priority AND tenant_id = lanes.tenant_id
            AND engine = lanes.engine
        ORDER BY id LIMIT :heads) heads
    ORDER BY heads.job_id
    """
)

_SHARES = text(
    """
    SELECT t.id, coalesce(c.virtual_time, 0) AS virtual_time, t.weight, t.max_in_flight,
        (SELECT count(*) FROM job
         WHERE tenant_id = t.id AND status IN ('starting','processing','finalizing'))
        + (SELECT count(*) FROM job
           WHERE tenant_id = t.id AND status = 'queued' AND dispatched_at IS NOT NULL)
        AS in_flight
    FROM tenant t LEFT JOIN dispatch_clock c ON c.tenant_id = t.id WHERE t.id = ANY(:tenants)
    """
)

_STALE = text(
    """
    SELECT id AS job_id, tenant_id, engine, priority, attempt, estimated_ms, max_runtime_s,
        extract(epoch FROM clock_timestamp() - created_at)::float AS waited_s
    FROM job WHERE status = 'queued' AND engine = :engine
        AND dispatched_at < clock_timestamp() - make_interval(secs => :stale_s)
    ORDER BY dispatched_at LIMIT :limit
    """
)

SAVE_CLOCKS = text(
    """
    INSERT INTO dispatch_clock (tenant_id, virtual_time)
    SELECT * FROM unnest(CAST(:tenants AS varchar[]), CAST(:times AS float[]))
    ON CONFLICT (tenant_id) DO UPDATE SET virtual_time = excluded.virtual_time
    """
)


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How one engine's queue stands by the database."""

    capacity: int  # jobs that living workers can run at once
    published: int  # on the broker, not yet claimed
    stale: int  # of these, published long ago

    @property
    def free_slots(self) -> int:
        """How many more messages the broker may hold."""
        return max(0, self.capacity * BUFFER - self.published)


def engine_loads(session: Session) -> dict[str, EngineLoad]:
    """Every engine that has a living worker or anything published."""
    rows = session.execute(_LOADS, {"timeout_s": HEARTBEAT_TIMEOUT_S, "stale_s": REPUBLISH_AFTER_S})
    return {
        row.engine: EngineLoad(capacity=row.capacity, published=row.published, stale=row.stale)
        for row in rows
    }


def candidates(session: Session, *, heads: int) -> list[Candidate]:
    """The first ``heads`` jobs of every lane, oldest first."""
    return [_candidate(row) for row in session.execute(_CANDIDATES, {"heads": heads}).mappings()]


def stale(session: Session, *, engine: str, limit: int) -> list[Candidate]:
    """Jobs published long ago that nobody claimed, oldest first."""
    rows = session.execute(
        _STALE, {"engine": engine, "stale_s": REPUBLISH_AFTER_S, "limit": limit}
    ).mappings()
    return [_candidate(row) for row in rows]


def shares(session: Session, *, tenants: set[str]) -> dict[str, TenantShare]:
    """What fair selection needs to know about the given tenants."""
    rows = session.execute(_SHARES, {"tenants": sorted(tenants)})
    return {
        row.id: TenantShare(
            virtual_time=row.virtual_time,
            weight=row.weight,
            in_flight=row.in_flight,
            max_in_flight=row.max_in_flight,
        )
        for row in rows
    }


def _candidate(row: RowMapping) -> Candidate:
    return Candidate(**{**row, "priority": Priority(row["priority"])})
