"""From an engine's result to a finished job: outputs checked and stored, told in one step."""

from datetime import UTC, datetime

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from app.files.models import File
from app.files.service import output_entry, store_output
from app.jobs.lifecycle import advance, finish
from app.jobs.record import Claimed, Progress
from app.jobs.states import JobStatus
from engines.media.probe import probe
from engines.spec import EngineResult, MediaInfo, OutputFile
from workers.services import Services


def finish_with_outputs(
    services: Services, claimed: Claimed, result: EngineResult, *, progress: Progress | None
) -> JobStatus:
    """Store the outputs and end the job as succeeded.

    If the lease is gone, what was stored is deleted again.

    Raises:
        StaleFenceError: another attempt owns the job.
    """
    if not result.files:
        with services.sessions.begin() as session:
            finish_without_files(session, claimed, result, progress=progress)
        return JobStatus.SUCCEEDED
    with services.relaxed.begin() as session:
        _finalize(session, claimed)
    facts = [(output, _facts(services, output)) for output in result.files]
    stored: list[File] = []
    try:
        with services.sessions.begin() as session:
            for output, info in facts:
                stored.append(_store(session, services, claimed, output=output, info=info))
            _finish(session, claimed, result, stored, progress)
    except (OperationalError, InterfaceError):
        # Perhaps it was committed: an object without a row is swept, a row without one is a lie.
        raise
    except BaseException:
        for file in stored:
            services.storage.delete(file.storage_key)
        raise
    return JobStatus.SUCCEEDED


def finish_without_files(
    session: Session, claimed: Claimed, result: EngineResult, *, progress: Progress | None
) -> None:
    """End a job whose result is data alone, in the caller's transaction.

    Raises:
        StaleFenceError: another attempt owns the job.
    """
    _finalize(session, claimed)  # nothing is stored: nobody sees the step
    _finish(session, claimed, result, [], progress)


def _finish(
    session: Session,
    claimed: Claimed,
    result: EngineResult,
    stored: list[File],
    progress: Progress | None,
) -> None:
    finish(
        session,
        job_id=claimed.job_id,
        attempt=claimed.attempt,
        outcome=JobStatus.SUCCEEDED,
        output={"files": [output_entry(f) for f in stored], "data": dict(result.data)},
        usage=result.usage,
        progress=progress,
    )


def _finalize(session: Session, claimed: Claimed) -> None:
    advance(session, job_id=claimed.job_id, attempt=claimed.attempt, to=JobStatus.FINALIZING)


def _facts(services: Services, output: OutputFile) -> MediaInfo | None:
    """Check an output as if it were uploaded; None for data that is no picture or video."""
    if not output.media_type.startswith(("image/", "video/")):
        return None
    return probe(output.path, services.limits)


def _store(
    session: Session,
    services: Services,
    claimed: Claimed,
    *,
    output: OutputFile,
    info: MediaInfo | None,
) -> File:
    return store_output(
        session,
        services.storage,
        tenant_id=claimed.tenant_id,
        job_id=claimed.job_id,
        path=output.path,
        name=output.name,
        media_type=output.media_type,
        info=info,
        now=datetime.now(UTC),
    )
