"""Every picture and video that a job gives back says inside itself that a machine made it."""

from engines.media.provenance import Provenance, mark_file
from engines.spec import EngineResult
from workers.attempt import Attempt
from workers.services import Services
from workers.verdict import Succeeded, Verdict, judge


def marked(services: Services, attempt: Attempt, verdict: Verdict) -> Verdict:
    """The verdict, its files marked; a failure where one of them cannot be.

    A copy of an earlier result is left alone: it says which job made it, and its files are that
    job's.
    """
    if not isinstance(verdict, Succeeded) or verdict.cached:
        return verdict
    result = verdict.result
    return judge(
        lambda: _marked(services, attempt, result), stop_reason=lambda: attempt.lease.stop_reason
    )


def _marked(services: Services, attempt: Attempt, result: EngineResult) -> EngineResult:
    claimed = attempt.claimed
    provenance = Provenance(
        source_type=services.registry.engine(claimed.engine).manifest.source_type,
        produce_id=claimed.job_id,
        producer=services.settings.content_producer,
    )
    for file in result.files:
        if file.is_media and file.is_made:
            mark_file(file.path, provenance)
    return result
