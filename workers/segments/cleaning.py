"""Results of segments are deleted when their job has ended, however it ended.

Whoever ends such a job cleans up after it; the sweep does the same for those who died before.
"""

import logging
from itertools import groupby

from sqlalchemy import Row

from app.jobs import segment_statements as statements
from app.jobs.lifecycle import MAX_ATTEMPTS
from app.storage import StorageUnavailableError
from workers.segments.part_store import PartStore
from workers.services import Services

log = logging.getLogger(__name__)

_BATCH = 256


def clean_ended(services: Services) -> int:
    """Delete what segments of ended jobs stored; returns of how many segments."""
    cleaned = 0
    try:
        while rows := _ended(services):
            for job_id, segments in groupby(rows, key=lambda row: row.job_id):
                cleaned += _clean(services, job_id, list(segments))
    except StorageUnavailableError as error:
        log.warning("results of segments are left to the next sweep: %s", error)
    return cleaned


def _ended(services: Services) -> list[Row[tuple[str, int, str]]]:
    with services.relaxed() as session:
        return list(session.execute(statements.ENDED_WITH_OBJECTS, {"limit": _BATCH}).all())


def _clean(services: Services, job_id: str, segments: list[Row[tuple[str, int, str]]]) -> int:
    store = PartStore(services.storage, job_id)
    for segment in segments:
        store.drop(segment.object_name, attempts=range(1, MAX_ATTEMPTS + 1))
    numbers = [segment.number for segment in segments]
    with services.relaxed.begin() as session:
        session.execute(statements.FORGET_OBJECTS, {"job_id": job_id, "numbers": numbers})
    return len(segments)
