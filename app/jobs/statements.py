"""The SQL of the background half of the writer: one conditional statement per step.

Times of leases, starts and ends are ``clock_timestamp()`` of the database, never of a worker.
"""

from sqlalchemy import text

MARK_DISPATCHED = text(
    "UPDATE job SET dispatched_at = clock_timestamp()"
    " WHERE id = ANY(:job_ids) AND status = 'queued' RETURNING id"
)
CLEAR_DISPATCHED = text(
    "UPDATE job SET dispatched_at = NULL WHERE id = ANY(:job_ids) AND status = 'queued'"
)

_CLAIMED = """
            status = 'starting',
            attempt = attempt + 1,
            lease_owner = :worker,
            lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s),
            started_at = coalesce(started_at, clock_timestamp()),
            progress_done = 0, progress_total = 0, progress_unit = '', progress_fps = NULL
"""
# Times that the job, or what is left of it after its segments, was tried: the attempt that cut a
# video into segments succeeded and does not count.
TRIES = "(attempt - (segments IS NOT NULL)::integer)"
CLAIMABLE = """status = 'queued' AND cancel_requested_at IS NULL
            AND (started_at IS NOT NULL OR start_deadline_at IS NULL
                 OR start_deadline_at > clock_timestamp())"""
# To be followed by nothing: opens the attempt of every job in ``claimed`` and tells what it is.
OPENED = """
    opened AS (
        INSERT INTO attempt (job_id, number, worker) SELECT id, attempt, :worker FROM claimed
    )
    SELECT id AS job_id, tenant_id, attempt, engine, model, tenant_model_id, params, inputs,
        use_cache, max_runtime_s, priority, segments_wanted,
        created_at, (extract(epoch FROM started_at - created_at) * 1000)::integer AS queue_ms
    FROM claimed
"""

CLAIM = text(
    f"""
    WITH claimed AS (
        UPDATE job SET {_CLAIMED} WHERE id = :job_id AND {CLAIMABLE} RETURNING *
    ), {OPENED}
    """  # noqa: S608 - constants
)
# Of jobs that somebody else is at, the others are taken: nobody waits for a gathering worker.
CLAIM_MANY = text(
    f"""
    WITH free AS (
        SELECT id AS free_id FROM job WHERE id = ANY(:job_ids) AND {CLAIMABLE}
        ORDER BY id FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE job SET {_CLAIMED} FROM free WHERE id = free_id RETURNING *
    ), {OPENED} ORDER BY array_position(CAST(:job_ids AS varchar[]), id)
    """  # noqa: S608 - constants
)

# What has no lease any more, because its segments have theirs, gets none by a late renewal.
RENEW = text(
    """
    UPDATE job SET
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s),
        progress_done = coalesce(:done, progress_done),
        progress_total = coalesce(:total, progress_total),
        progress_unit = coalesce(:unit, progress_unit),
        progress_fps = coalesce(:fps, progress_fps)
    WHERE id = :job_id AND attempt = :attempt AND status = ANY(:leased)
        AND lease_expires_at IS NOT NULL
    RETURNING cancel_requested_at IS NOT NULL
    """
)

ADVANCE = text(
    "UPDATE job SET status = :to WHERE id = :job_id AND attempt = :attempt"
    " AND status = ANY(:sources) RETURNING id"
)

ADVANCE_MANY = text(
    """
    UPDATE job SET status = :to
    FROM unnest(CAST(:job_ids AS varchar[]), CAST(:attempts AS integer[])) AS own (job_id, number)
    WHERE id = own.job_id AND attempt = own.number AND status = ANY(:sources) RETURNING id
    """
)

FINISH = text(
    """
    WITH ended AS (
        UPDATE job SET
            status = :outcome, finished_at = clock_timestamp(),
            lease_owner = NULL, lease_expires_at = NULL,
            progress_done = coalesce(:done, progress_done),
            progress_total = coalesce(:total, progress_total),
            progress_unit = coalesce(:unit, progress_unit),
            progress_fps = coalesce(:fps, progress_fps),
            output = CAST(:output AS jsonb), error = CAST(:error AS jsonb),
            expires_at = CASE WHEN CAST(:output AS jsonb) IS NOT NULL
                THEN clock_timestamp() + make_interval(secs => :retention_s) END
        WHERE id = :job_id AND attempt = :attempt AND status = ANY(:sources)
        RETURNING *
    ), closed AS (
        UPDATE attempt SET
            finished_at = clock_timestamp(), outcome = :outcome,
            error = CAST(:error AS jsonb), usage_report = CAST(:report AS jsonb)
        FROM ended WHERE attempt.job_id = ended.id AND attempt.number = ended.attempt
        RETURNING attempt.started_at, attempt.finished_at
    )
    SELECT ended.*, (extract(epoch FROM closed.finished_at - closed.started_at) * 1000000)::bigint
        AS attempt_wall_us
    FROM ended, closed
    """
)

GIVE_BACK = text(
    f"""
    WITH freed AS (
        UPDATE job SET
            status = CASE WHEN segments IS NULL THEN 'queued' ELSE 'finalizing' END,
            dispatched_at = NULL, lease_owner = NULL, lease_expires_at = NULL
        WHERE id = :job_id AND attempt = :attempt AND status = ANY(:leased)
            AND {TRIES} < :max_attempts AND cancel_requested_at IS NULL
        RETURNING id, attempt, status
    ), closed AS (
        UPDATE attempt SET
            finished_at = clock_timestamp(), outcome = 'failed', error = CAST(:error AS jsonb)
        FROM freed WHERE attempt.job_id = freed.id AND attempt.number = freed.attempt
    )
    SELECT freed.id, freed.status FROM freed, pg_notify('pixelmeter_jobs', '')
    """  # noqa: S608 - constants
)

SETTLING = text(
    "SELECT job.*, attempt.usage_report FROM job LEFT JOIN attempt"
    " ON attempt.job_id = job.id AND attempt.number = job.attempt"
    " WHERE job.id = ANY(:job_ids) AND job.settled_at IS NULL ORDER BY job.id FOR UPDATE OF job"
)
SETTLED = text(
    """
    WITH settled AS (
        UPDATE job SET usage = CAST(told.usage AS jsonb), settled_at = clock_timestamp()
        FROM unnest(CAST(:job_ids AS varchar[]), CAST(:usages AS text[])) told (id, usage)
        WHERE job.id = told.id RETURNING job.*
    )
    SELECT settled.* FROM settled, LATERAL pg_notify('pixelmeter_settled', settled.id)
    ORDER BY settled.id
    """
)

# A job in segments whose finalizer was lost waits for another one; if it was canceled meanwhile, it
# waits for ``segments.end_canceled``, which knows what its segments did.
RESCUE = text(
    f"""
    WITH due AS (
        SELECT id AS due_id, CASE
            WHEN segments IS NOT NULL AND cancel_requested_at IS NOT NULL THEN 'finalizing'
            WHEN cancel_requested_at IS NOT NULL THEN 'canceled'
            WHEN {TRIES} >= :max_attempts THEN 'failed'
            WHEN segments IS NOT NULL THEN 'finalizing' ELSE 'queued' END AS outcome
        FROM job
        WHERE status IN ('starting','processing','finalizing')
            AND lease_expires_at < clock_timestamp()
        ORDER BY lease_expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE job SET
            status = outcome,
            finished_at = CASE WHEN outcome IN ('canceled','failed') THEN clock_timestamp() END,
            error = CASE outcome WHEN 'failed'
                THEN jsonb_build_object('code', 'attempts_exhausted', 'retryable', true,
                    'detail', 'The job was started ' || {TRIES} || ' times and its worker was lost '
                        'each time. Nothing is charged; submit it again or contact support.') END,
            dispatched_at = NULL, lease_owner = NULL, lease_expires_at = NULL
        FROM due WHERE job.id = due_id
        RETURNING job.*
    ), lost AS (
        UPDATE attempt SET outcome = 'lost', finished_at = clock_timestamp()
        FROM moved WHERE attempt.job_id = moved.id AND attempt.number = moved.attempt
    )
    SELECT moved.* FROM moved, pg_notify('pixelmeter_jobs', '')
    """  # noqa: S608 - constants
)

EXPIRE = text(
    """
    WITH due AS (
        SELECT id FROM job
        WHERE status = 'queued' AND started_at IS NULL AND start_deadline_at < clock_timestamp()
        ORDER BY start_deadline_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE job SET status = 'expired', finished_at = clock_timestamp(),
        error = jsonb_build_object('code', 'start_deadline_missed', 'retryable', true,
            'detail', 'No worker was free before the start deadline. Nothing is charged; submit '
                'again with a later start_deadline_s or a higher priority.')
    FROM due WHERE job.id = due.id
    RETURNING job.*
    """
)
