"""Cutting a long video into segments, by the attempt that would otherwise run it whole."""

import logging
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import text

from app.catalog.service import ESTIMATED_MS
from app.jobs import speeds
from app.jobs.errors import StaleFenceError
from app.jobs.record import Claimed
from app.jobs.segment_record import PlannedSegment
from app.jobs.segments import cut
from app.jobs.states import JobStatus
from engines.errors import EngineError
from engines.media.footprint import bytes_per_frame, quality_of
from engines.media.index import index_video
from engines.media.segments import plan_segments
from engines.spec import InputMedia, MediaInfo, MediaKind, RunItem, SegmentedEngine
from workers.attempt import Attempt
from workers.dispatch.outlook import refund
from workers.node_disk import never_fits
from workers.persistence import persist
from workers.segments.planning import planned, wanted_segments
from workers.services import Services
from workers.verdict import Failed

log = logging.getLogger(__name__)

CUT_FOR_S = 5.0

_MOST = text("SELECT max_segments FROM tenant WHERE id = :tenant_id")


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What the database knows before the video is looked at."""

    ms_per_frame: float
    most: int


def split(services: Services, attempt: Attempt) -> JobStatus | Failed | None:
    """Cut the job's video if it is worth it; None: the job is one run.

    What is wrong with an input is left to that run to say. A failure: it is cut, and what comes
    of it fits on no worker.
    """
    info = attempt.taken.inputs.target_info()
    if info is None or info.kind is not MediaKind.VIDEO or attempt.claimed.segments_wanted == 1:
        return None
    engine = services.registry.engine(attempt.claimed.engine)
    if not isinstance(engine, SegmentedEngine) or attempt.taken.kept is not None:
        return None
    try:
        item = attempt.item(services)
        overlap = engine.overlap(item.model, item.params, InputMedia(info))
        if overlap is None:
            return None
        plan = _plan(services, attempt, item, overlap)
    except (EngineError, ValidationError):
        return None
    if len(plan) < 2:  # noqa: PLR2004 - one is no plan
        return None
    return _cut(services, attempt, plan)


def _plan(
    services: Services, attempt: Attempt, item: RunItem, overlap: int
) -> list[PlannedSegment]:
    claimed, info = attempt.claimed, item.files.target_info
    known = _look(services, claimed, info)
    wanted = wanted_segments(
        frames=info.frames or 0,
        ms_per_frame=known.ms_per_frame,
        overlap=overlap,
        asked=claimed.segments_wanted,
        most=known.most,
        segment_s=services.settings.segment_s,
    )
    if wanted < 2:  # noqa: PLR2004
        return []
    index = index_video(item.files.target, services.limits)
    each = -(-index.frames // wanted)
    segments = plan_segments(index, frames_per_segment=max(1, each), most=wanted)
    return planned(
        segments,
        content=attempt.cache_key,
        ms_per_frame=known.ms_per_frame,
        frame_bytes=bytes_per_frame(index, quality_of(item.params)),
    )


def _look(services: Services, claimed: Claimed, info: MediaInfo) -> _Outlook:
    with services.relaxed() as session:
        measured = speeds.ms_per_frame(
            session, engine=claimed.engine, model=claimed.model, size=(info.width, info.height)
        )
        most = session.execute(_MOST, {"tenant_id": claimed.tenant_id}).scalar_one()
    return _Outlook(measured or float(ESTIMATED_MS["frames"]), most)


def _cut(
    services: Services, attempt: Attempt, plan: list[PlannedSegment]
) -> JobStatus | Failed | None:
    claimed = attempt.claimed

    def write() -> Failed | None:
        with services.sessions.begin() as session:
            # The join is what needs most: a whole result on one worker.
            need = sum(each.work_bytes for each in plan)
            if (refused := never_fits(session, engine=claimed.engine, need_bytes=need)) is not None:
                return refused
            cut(session, claimed=claimed, plan=plan)
            refund(session, job_id=claimed.job_id)
            return None

    try:
        refused = persist(write, for_s=CUT_FOR_S)
    except StaleFenceError as stale:
        log.warning("%s", stale)
        return JobStatus.QUEUED
    if refused is None:
        log.info("%s: cut into %d segments", claimed.job_id, len(plan))
    return refused or JobStatus.PROCESSING
