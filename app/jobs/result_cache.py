"""Results that may be given again: same tenant, engine, model version, parameters and inputs.

A job whose like succeeded within a day gets a copy of that result and is charged nothing. The
cache is a note of which job to copy from; it holds no result itself, so nothing outlives the
retention of its job, and no tenant can meet another's.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.files.retention import DEFAULT

_REMEMBER = text(
    """
    INSERT INTO result_cache (tenant_id, key, job_id)
    SELECT * FROM unnest(
        CAST(:tenants AS varchar[]), CAST(:keys AS varchar[]), CAST(:jobs AS varchar[]))
    ON CONFLICT (tenant_id, key) DO UPDATE
        SET job_id = excluded.job_id, created_at = excluded.created_at
    """
)
_FIND = text(
    """
    SELECT c.tenant_id, c.key, job.id AS job_id, job.output, attempt.usage_report
    FROM unnest(CAST(:tenants AS varchar[]), CAST(:keys AS varchar[])) AS wanted (tenant_id, key)
        JOIN result_cache c ON c.tenant_id = wanted.tenant_id AND c.key = wanted.key
        JOIN job ON job.id = c.job_id AND job.tenant_id = c.tenant_id
        JOIN attempt ON attempt.job_id = job.id AND attempt.number = job.attempt
    WHERE c.created_at > clock_timestamp() - make_interval(secs => :lifetime_s)
        AND job.status = 'succeeded' AND job.expires_at > clock_timestamp()
        AND attempt.usage_report IS NOT NULL
    """
)
_FORGET_SOURCES = text(
    "DELETE FROM result_cache c USING job"
    " WHERE job.id = c.job_id AND jsonb_array_length(job.inputs->'source') > 0"
)
_FORGET = text(
    "DELETE FROM result_cache WHERE created_at < clock_timestamp() - make_interval(secs => :age_s)"
)

# A tenant and the key of what was asked.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """An earlier result: ``output`` and ``report`` as its job and attempt hold them."""

    job_id: str
    output: Mapping[str, Any]
    report: Mapping[str, Any]


def cache_key(
    *,
    engine: str,
    model: str,
    params: Mapping[str, Any],
    inputs: Sequence[Sequence[str]],
    release: str,
) -> str:
    """What makes two jobs the same. Pure.

    Args:
        engine: name of the engine.
        model: ``name@version``; the weights of a version never change.
        params: with every default filled in.
        inputs: by role, the sha256 of each file, in order.
        release: of this program; another one may compute another result.
    """
    asked = [release, engine, model, params, inputs]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def remember(session: Session, jobs: Mapping[Place, str]) -> None:
    """Note which job has which result; in the transaction that ends the jobs."""
    if not jobs:
        return
    places = sorted(jobs)  # everybody locks in this order
    session.execute(
        _REMEMBER,
        {
            "tenants": [tenant for tenant, _ in places],
            "keys": [key for _, key in places],
            "jobs": [jobs[place] for place in places],
        },
    )


def find(
    session: Session, *, wanted: Collection[Place], lifetime: timedelta = DEFAULT.results
) -> dict[Place, Kept]:
    """Earlier results that are fresh and still stored, with one query."""
    if not wanted:
        return {}
    places = sorted(wanted)
    rows = session.execute(
        _FIND,
        {
            "tenants": [tenant for tenant, _ in places],
            "keys": [key for _, key in places],
            "lifetime_s": lifetime.total_seconds(),
        },
    )
    return {
        (row.tenant_id, row.key): Kept(row.job_id, row.output, row.usage_report) for row in rows
    }


def forget_old(session: Session, *, lifetime: timedelta = DEFAULT.results) -> None:
    """Drop the notes that nobody may use any more."""
    session.execute(_FORGET, {"age_s": lifetime.total_seconds()})


def forget_with_sources(session: Session) -> None:
    """Give no earlier result again that was made with a source: what sources may be has changed."""
    session.execute(_FORGET_SOURCES)
