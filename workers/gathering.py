"""Which waiting jobs a worker may run together with the one it has.

The order is the dispatcher's own: class, then the tenant with the smallest clock. Of the next
``ROOM`` jobs in that order those are taken whose batch key is that of the run, and none past a job
of a better class that has to wait: so a tenant's thousand pictures do not keep another tenant's
job out for longer than a run lasts (``STREAM_S``), and nothing overtakes a better class. A job that
was tried before is never taken along: whatever ended its first attempt, it takes nobody with it.
"""

import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.jobs.statements import CLAIMABLE
from app.jobs.states import Priority
from engines.spec import InputMedia, MediaInfo, MediaKind
from workers.attempt import Taken, claim_these
from workers.dispatch import outlook
from workers.dispatch.selection import Candidate, TenantShare, select
from workers.services import Services

log = logging.getLogger(__name__)

ROOM = 8  # jobs taken at a time
STREAM_S = 3.0  # after this others have their turn

KeyOf = Callable[["Waiting"], Hashable | None]

_WAITING = text(
    f"""
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
    ), waiting AS (
        SELECT heads.* FROM lanes CROSS JOIN LATERAL (
            SELECT * FROM job
            WHERE {CLAIMABLE} AND dispatched_at IS NULL AND priority = lanes.priority
                AND tenant_id = lanes.tenant_id AND engine = lanes.engine
            ORDER BY id LIMIT :room) heads
        WHERE lanes.engine = ANY(:engines)
        UNION ALL
        SELECT * FROM job
        WHERE {CLAIMABLE} AND dispatched_at IS NOT NULL AND engine = ANY(:engines)
    )
    SELECT w.id AS job_id, w.tenant_id, w.engine, w.priority, w.attempt, w.estimated_ms,
        w.max_runtime_s, extract(epoch FROM clock_timestamp() - w.created_at)::float AS waited_s,
        w.dispatched_at IS NOT NULL AS is_published, w.params,
        CASE WHEN w.tenant_model_id IS NULL THEN w.model END AS model,
        file.kind, file.media_type, file.bytes, file.width, file.height
    FROM waiting w LEFT JOIN file ON file.id = w.inputs ->> 'target'
    ORDER BY w.id
    """  # noqa: S608 - constants
)
_CHARGE = text(
    """
    INSERT INTO dispatch_clock (tenant_id, virtual_time)
    SELECT * FROM unnest(CAST(:tenants AS varchar[]), CAST(:times AS float[]))
    ON CONFLICT (tenant_id) DO UPDATE
        SET virtual_time = greatest(dispatch_clock.virtual_time, excluded.virtual_time)
    """
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job, with what its batch key depends on."""

    candidate: Candidate
    is_published: bool  # on the broker: its tenant's clock was charged for it
    model: str | None  # None: one of the tenant's own, which runs alone
    params: Mapping[str, Any]
    media: InputMedia | None  # None: the target is gone, or no picture


@dataclass(frozen=True, slots=True)
class Gathered:
    """Which jobs to take, in order, and the clocks of their tenants afterwards."""

    jobs: tuple[str, ...]
    virtual_times: Mapping[str, float]


def choose(
    waiting: Sequence[Waiting],
    *,
    shares: Mapping[str, TenantShare],
    is_compatible: Callable[[Waiting], bool],
    room: int = ROOM,
) -> Gathered:
    """Of the next ``room`` jobs in fair order, those that may run together. Pure."""
    by_id = {each.candidate.job_id: each for each in waiting}
    slots = {each.candidate.engine: room for each in waiting}
    order = select([each.candidate for each in waiting], shares=shares, free_slots=slots)
    taken: list[Waiting] = []
    passed_over: Priority | None = None
    for candidate, priority in order.chosen[:room]:
        if passed_over is not None and priority != passed_over:
            break  # the order falls by class: whatever follows is worse than what was passed over
        if candidate.attempt == 0 and is_compatible(by_id[candidate.job_id]):
            taken.append(by_id[candidate.job_id])
        else:
            passed_over = passed_over or priority
    unpaid = [each.candidate for each in taken if not each.is_published]
    paid = select(unpaid, shares=shares, free_slots=slots)
    return Gathered(tuple(each.candidate.job_id for each in taken), paid.virtual_times)


class Gatherer:
    """Takes compatible jobs for one run, until there are none or the run has lasted long enough."""

    def __init__(
        self,
        services: Services,
        *,
        worker: str,
        engines: Sequence[str],
        is_compatible: Callable[[Waiting], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._worker = worker
        self._engines = list(engines)
        self._is_compatible = is_compatible
        self._clock = clock
        self._ends_at = clock() + STREAM_S

    def take(self) -> list[Taken]:
        """Claim the next jobs; empty when the run should end. Never raises for the database."""
        if self._clock() >= self._ends_at:
            return []
        try:
            with self._services.relaxed.begin() as session:
                return self._take(session)
        except SQLAlchemyError as error:
            log.warning("no more jobs gathered, the database is away: %s", error)
            return []

    def _take(self, session: Session) -> list[Taken]:
        asked = {"room": ROOM, "engines": self._engines}
        waiting = [_waiting(row) for row in session.execute(_WAITING, asked).mappings()]
        if not waiting:
            return []
        shares = outlook.shares(session, tenants={each.candidate.tenant_id for each in waiting})
        gathered = choose(
            waiting,
            shares=_without_published(shares, waiting),
            is_compatible=self._is_compatible,
        )
        if not gathered.jobs:
            return []
        times = gathered.virtual_times
        if times:
            session.execute(_CHARGE, {"tenants": list(times), "times": list(times.values())})
        return claim_these(session, self._services, gathered.jobs, self._worker)


def _without_published(
    shares: Mapping[str, TenantShare], waiting: Sequence[Waiting]
) -> dict[str, TenantShare]:
    """Shares whose published jobs do not count as in flight: they are candidates here."""
    published = [each.candidate.tenant_id for each in waiting if each.is_published]
    return {
        tenant: TenantShare(
            virtual_time=share.virtual_time,
            weight=share.weight,
            in_flight=share.in_flight - published.count(tenant),
            max_in_flight=share.max_in_flight,
        )
        for tenant, share in shares.items()
    }


def _waiting(row: RowMapping) -> Waiting:
    media = None
    if row["kind"] == MediaKind.IMAGE:
        info = MediaInfo(
            kind=MediaKind.IMAGE,
            media_type=row["media_type"],
            bytes=row["bytes"],
            width=row["width"],
            height=row["height"],
        )
        media = InputMedia(info)
    return Waiting(
        candidate=Candidate(
            job_id=row["job_id"],
            tenant_id=row["tenant_id"],
            engine=row["engine"],
            priority=Priority(row["priority"]),
            attempt=row["attempt"],
            waited_s=row["waited_s"],
            estimated_ms=row["estimated_ms"],
            max_runtime_s=row["max_runtime_s"],
        ),
        is_published=row["is_published"],
        model=row["model"],
        params=row["params"],
        media=media,
    )
