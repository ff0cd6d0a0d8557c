"""What the dispatcher reads before it decides: capacity, what is out, who waits. Read-only SQL."""

from dataclasses import dataclass, fields

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from app.jobs import segment_statements
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
        FROM (SELECT engine, dispatched_at FROM job
              WHERE status = 'queued' AND dispatched_at IS NOT NULL
              UNION ALL SELECT engine, dispatched_at FROM segment
              WHERE status = 'waiting' AND dispatched_at IS NOT NULL) message
        GROUP BY engine
    )
    SELECT engine, coalesce(capacity, 0) AS capacity, coalesce(published, 0) AS published,
        coalesce(stale, 0) AS stale
    FROM capacity FULL JOIN published USING (engine)
    """
)

# One step per lane (class, tenant, engine) that has anything waiting: a skip scan. Segments wait in
# lanes of their own: inside a tenant and class they go by their job, as old as that.
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
    ), segment_lanes AS (
        (SELECT priority, tenant_id, engine FROM segment
         WHERE status = 'waiting' AND dispatched_at IS NULL
         ORDER BY priority, tenant_id, engine LIMIT 1)
        UNION ALL
        SELECT following.* FROM segment_lanes lanes CROSS JOIN LATERAL (
            SELECT priority, tenant_id, engine FROM segment
            WHERE status = 'waiting' AND dispatched_at IS NULL
                AND (priority, tenant_id, engine) > (lanes.priority, lanes.tenant_id, lanes.engine)
            ORDER BY priority, tenant_id, engine LIMIT 1) following
    )
    SELECT heads.* FROM lanes CROSS JOIN LATERAL (
        SELECT id AS job_id, NULL::integer AS segment, tenant_id, engine, priority, attempt,
            estimated_ms, max_runtime_s,
            extract(epoch FROM clock_timestamp() - created_at)::float AS waited_s
        FROM job
        WHERE status = 'queued' AND dispatched_at IS NULL AND cancel_requested_at IS NULL
            AND priority = lanes.priority AND tenant_id = lanes.tenant_id
            AND engine = lanes.engine
        ORDER BY id LIMIT :heads) heads
    UNION ALL
    SELECT heads.* FROM segment_lanes lanes CROSS JOIN LATERAL (
        SELECT s.job_id, s.number, s.tenant_id, s.engine, s.priority, s.attempt, s.estimated_ms,
            job.max_runtime_s,
            extract(epoch FROM clock_timestamp() - job.created_at)::float AS waited_s
        FROM segment s JOIN job ON job.id = s.job_id
        WHERE s.status = 'waiting' AND s.dispatched_at IS NULL
            AND job.cancel_requested_at IS NULL AND s.priority = lanes.priority
            AND s.tenant_id = lanes.tenant_id AND s.engine = lanes.engine
        ORDER BY s.job_id, s.number LIMIT :heads) heads
    ORDER BY job_id, segment
    """
)

# A job in segments is as many in flight as it has segments out.
_SHARES = text(
    """
    SELECT t.id, coalesce(c.virtual_time, 0) AS virtual_time, t.weight, t.max_in_flight,
        (SELECT count(*) FROM job
         WHERE tenant_id = t.id AND status IN ('starting','processing','finalizing')
             AND lease_expires_at IS NOT NULL)
        + (SELECT count(*) FROM job
           WHERE tenant_id = t.id AND status = 'queued' AND dispatched_at IS NOT NULL)
        + (SELECT count(*) FROM segment WHERE tenant_id = t.id AND status = 'running')
        + (SELECT count(*) FROM segment
           WHERE tenant_id = t.id AND status = 'waiting' AND dispatched_at IS NOT NULL)
        AS in_flight
    FROM tenant t LEFT JOIN dispatch_clock c ON c.tenant_id = t.id WHERE t.id = ANY(:tenants)
    """
)

_STALE = text(
    """
    SELECT * FROM (
        SELECT id AS job_id, NULL::integer AS segment, tenant_id, engine, priority, attempt,
            estimated_ms, max_runtime_s, dispatched_at,
            extract(epoch FROM clock_timestamp() - created_at)::float AS waited_s
        FROM job WHERE status = 'queued' AND engine = :engine
            AND dispatched_at < clock_timestamp() - make_interval(secs => :stale_s)
        UNION ALL
        SELECT s.job_id, s.number, s.tenant_id, s.engine, s.priority, s.attempt, s.estimated_ms,
            job.max_runtime_s, s.dispatched_at,
            extract(epoch FROM clock_timestamp() - job.created_at)::float
        FROM segment s JOIN job ON job.id = s.job_id WHERE s.status = 'waiting'
            AND s.engine = :engine
            AND s.dispatched_at < clock_timestamp() - make_interval(secs => :stale_s)) lost
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

# A job in segments is paid for by each of them, so what was paid for the whole comes back.
_REFUND = text(
    """
    UPDATE dispatch_clock c SET virtual_time
        = greatest(0, c.virtual_time - job.estimated_ms / 1000.0 / greatest(t.weight, 1))
    FROM job JOIN tenant t ON t.id = job.tenant_id
    WHERE job.id = :job_id AND c.tenant_id = t.id
    """
)


@dataclass(frozen=True, slots=True)
class Joinable:
    """A job whose segments are all done and that nobody joins yet."""

    job_id: str
    attempt: int  # so far
    max_runtime_s: int | None
    is_published: bool
    is_stale: bool  # published long ago


_FACTS = tuple(each.name for each in fields(Candidate))


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


def joinable(session: Session) -> list[Joinable]:
    """Jobs in segments that wait to be finalized, oldest first."""
    rows = session.execute(segment_statements.JOINABLE, {"stale_s": REPUBLISH_AFTER_S})
    return [Joinable(**row) for row in rows.mappings()]


def mark_joins(session: Session, *, job_ids: list[str]) -> None:
    """Stamp jobs as put on the broker to be finalized."""
    session.execute(segment_statements.MARK_JOIN_DISPATCHED, {"job_ids": job_ids})


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


def refund(session: Session, *, job_id: str) -> None:
    """Turn a tenant's clock back by a whole job, whose segments are charged one by one."""
    session.execute(_REFUND, {"job_id": job_id})


def _candidate(row: RowMapping) -> Candidate:
    facts = {name: row[name] for name in _FACTS}
    return Candidate(**{**facts, "priority": Priority(row["priority"])})
