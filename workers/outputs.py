"""From an engine's result to a finished job: outputs checked and stored, told in one step."""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from app.files.models import File
from app.files.service import output_entry, output_file
from app.jobs import speeds
from app.jobs.lifecycle import advance, finish
from app.jobs.record import Claimed
from app.jobs.result_cache import remember
from app.jobs.states import JobStatus
from app.storage import StorageUnavailableError
from engines.media.probe import probe
from engines.spec import MediaInfo, MediaKind, OutputFile
from workers.attempt import Attempt
from workers.persistence import persist
from workers.services import Services
from workers.storing import persist_stored
from workers.verdict import Succeeded


def finish_with_outputs(
    services: Services,
    attempt: Attempt,
    verdict: Succeeded,
    *,
    for_s: float,
    segments_us: int | None = None,
) -> JobStatus:
    """Store the outputs and end the job as succeeded, waiting ``for_s`` for whatever is away.

    If the end is not written, what was stored is deleted again. ``segments_us``: the job is
    finalizing already, and what is charged took so long in its segments.

    Raises:
        StaleFenceError: another attempt owns the job.
        ExhaustedError: ``storage_unavailable`` or ``storage_full``; nothing is left there.
    """
    if segments_us is None:
        persist(lambda: _begin_finalizing(services, attempt.claimed), for_s=for_s)
    facts = [(output, _facts(services, output)) for output in verdict.result.files]
    stored: list[File] = []
    keep = services.settings.retention.outputs
    in_doubt = False

    def write() -> None:
        nonlocal in_doubt
        try:
            with services.sessions.begin() as session:
                _finish(session, attempt, verdict, stored, keep=keep, segments_us=segments_us)
                session.add_all(stored)
                _remember(session, [(attempt, verdict)])
        except (OperationalError, InterfaceError):
            in_doubt = True
            raise

    try:
        for output, info in facts:
            stored.append(_store(services, attempt.claimed, output, info, for_s=for_s))
        persist(write, for_s=for_s)
    except BaseException:
        # Perhaps it was committed: an object without a row is swept, a row without one is a lie.
        if not in_doubt:
            _discard(services, stored)
        raise
    return JobStatus.SUCCEEDED


def finish_without_files(
    session: Session, ends: Sequence[tuple[Attempt, Succeeded]], *, keep: timedelta
) -> None:
    """End jobs whose results are data alone, in the caller's transaction; they live for ``keep``.

    Raises:
        StaleFenceError: one of them is another attempt's; the caller rolls back.
    """
    for attempt, verdict in ends:
        _finalize(session, attempt.claimed)  # nothing is stored: nobody sees the step
        _finish(session, attempt, verdict, [], keep=keep)
    _remember(session, ends)


def _finish(
    session: Session,
    attempt: Attempt,
    verdict: Succeeded,
    stored: list[File],
    *,
    keep: timedelta,
    segments_us: int | None = None,
) -> None:
    finish(
        session,
        job_id=attempt.claimed.job_id,
        attempt=attempt.claimed.attempt,
        outcome=JobStatus.SUCCEEDED,
        output={
            "files": [output_entry(file) for file in stored],
            "data": dict(verdict.result.data),
        },
        usage=verdict.result.usage,
        cached=verdict.cached,
        progress=attempt.lease.progress,
        wall_us=segments_us,
        keep=keep,
    )
    if not verdict.cached and segments_us is None:
        _learn(session, attempt, verdict)


def _learn(session: Session, attempt: Attempt, verdict: Succeeded) -> None:
    """How long frames took, if it was a video: the next one is planned by it."""
    usage, info = verdict.result.usage, attempt.taken.inputs.target_info()
    if info is not None and info.kind is MediaKind.VIDEO:
        speeds.note(
            session,
            engine=attempt.claimed.engine,
            model=attempt.claimed.model,
            size=(info.width, info.height),
            frames=round(usage.work.quantities.get("frames", 0)),
            gpu_ms=usage.gpu_ms,
        )


def _remember(session: Session, ends: Sequence[tuple[Attempt, Succeeded]]) -> None:
    """The same question may be answered from these; a copy is not copied from again."""
    fresh = [attempt for attempt, verdict in ends if not verdict.cached]
    remember(
        session, {(each.claimed.tenant_id, each.cache_key): each.claimed.job_id for each in fresh}
    )


def _begin_finalizing(services: Services, claimed: Claimed) -> None:
    with services.relaxed.begin() as session:
        _finalize(session, claimed)


def _finalize(session: Session, claimed: Claimed) -> None:
    advance(session, job_id=claimed.job_id, attempt=claimed.attempt, to=JobStatus.FINALIZING)


def _facts(services: Services, output: OutputFile) -> MediaInfo | None:
    """Check an output as if it were uploaded; None for data that is no picture or video."""
    if not output.is_media:
        return None
    return probe(output.path, services.limits)


def _store(
    services: Services,
    claimed: Claimed,
    output: OutputFile,
    info: MediaInfo | None,
    *,
    for_s: float,
) -> File:
    return persist_stored(
        lambda: output_file(
            services.storage,
            tenant_id=claimed.tenant_id,
            job_id=claimed.job_id,
            path=output.path,
            name=output.name,
            media_type=output.media_type,
            info=info,
            now=datetime.now(UTC),
            keep=services.settings.retention.outputs,
        ),
        for_s=for_s,
    )


def _discard(services: Services, stored: Sequence[File]) -> None:
    """Delete objects that no row will name; what cannot be deleted now is swept later."""
    for file in stored:
        with contextlib.suppress(StorageUnavailableError):
            services.storage.delete(file.storage_key)
