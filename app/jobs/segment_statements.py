"""The SQL of segments: one conditional statement per step, times by the database's clock."""

from sqlalchemy import text

from app.jobs.statements import OPENED

CUT = text(
    """
    WITH cut AS (
        UPDATE job SET
            segments = :count, dispatched_at = NULL, lease_owner = NULL, lease_expires_at = NULL,
            progress_done = 0, progress_total = :frames, progress_unit = 'frames',
            progress_fps = NULL
        WHERE id = :job_id AND attempt = :attempt AND status = 'processing' AND segments IS NULL
        RETURNING *
    ), closed AS (
        UPDATE attempt SET finished_at = clock_timestamp(), outcome = 'split'
        FROM cut WHERE attempt.job_id = cut.id AND attempt.number = cut.attempt
    )
    INSERT INTO segment (job_id, tenant_id, engine, priority, status, number, first_frame, frames,
        start_pts, end_pts, object_name, estimated_ms, work_bytes)
    SELECT cut.id, cut.tenant_id, cut.engine, cut.priority, 'waiting', part.*
    FROM cut, jsonb_to_recordset(CAST(:parts AS jsonb)) AS part (number integer,
        first_frame integer, frames integer, start_pts bigint, end_pts bigint, object_name varchar,
        estimated_ms integer, work_bytes bigint)
    RETURNING number
    """
)

MARK_DISPATCHED = text(
    """
    UPDATE segment SET dispatched_at = clock_timestamp()
    FROM unnest(CAST(:job_ids AS varchar[]), CAST(:numbers AS integer[])) AS own (job_id, number)
    WHERE segment.job_id = own.job_id AND segment.number = own.number AND status = 'waiting'
    RETURNING segment.job_id, segment.number
    """
)
PUT_BACK = text(
    "UPDATE segment SET dispatched_at = NULL"
    " WHERE job_id = :job_id AND number = :number AND status = 'waiting'"
)

# Where a worker runs is in its name, gpu1@node. A finalizer needs what all segments needed.
RESERVED = text(
    """
    SELECT (SELECT coalesce(sum(work_bytes), 0) FROM segment
            WHERE status = 'running' AND split_part(lease_owner, '@', 2) = :node)
        + (SELECT coalesce(sum(segment.work_bytes), 0) FROM job JOIN segment ON job_id = job.id
           WHERE job.segments IS NOT NULL AND job.status IN ('starting','processing','finalizing')
               AND split_part(job.lease_owner, '@', 2) = :node) AS bytes
    """
)
# Who asks about a node's disk does so alone, to the end of its transaction.
LOCK_NODE = text("SELECT pg_advisory_xact_lock(hashtext('pixelmeter-disk'), hashtext(:node))")
NEED = text(
    "SELECT work_bytes, engine FROM segment"
    " WHERE job_id = :job_id AND number = :number AND status = 'waiting'"
)
NEED_OF_ALL = text(
    "SELECT sum(work_bytes)::bigint AS work_bytes, engine FROM segment WHERE job_id = :job_id"
    " GROUP BY engine"
)

CLAIM = text(
    """
    WITH claimed AS (
        UPDATE segment SET
            status = 'running', attempt = segment.attempt + 1, lease_owner = :worker,
            lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s),
            progress_done = 0, progress_fps = NULL
        FROM job
        WHERE segment.job_id = :job_id AND number = :number AND segment.status = 'waiting'
            AND job.id = segment.job_id AND job.status = 'processing'
            AND job.cancel_requested_at IS NULL
        RETURNING segment.*, job.attempt AS job_attempt, job.model, job.tenant_model_id,
            job.params, job.inputs, job.use_cache, job.max_runtime_s, job.segments_wanted,
            job.created_at AS asked_at, job.segments AS of,
            (extract(epoch FROM job.started_at - job.created_at) * 1000)::integer AS queue_ms
    ), opened AS (
        INSERT INTO segment_attempt (job_id, segment, number, worker)
        SELECT job_id, number, attempt, :worker FROM claimed
    )
    SELECT * FROM claimed
    """
)

RENEW = text(
    """
    UPDATE segment SET
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s),
        progress_done = coalesce(:done, segment.progress_done),
        progress_fps = coalesce(:fps, segment.progress_fps)
    FROM job
    WHERE job_id = :job_id AND number = :number AND segment.attempt = :attempt
        AND segment.status = 'running' AND job.id = job_id AND job.status = 'processing'
    RETURNING job.cancel_requested_at IS NOT NULL
    """
)
# Nobody waits to tell a progress: who holds the job's row will tell a newer one.
ADD_UP = text(
    """
    UPDATE job SET progress_done = sums.done, progress_fps = sums.fps
    FROM (SELECT id AS free_id FROM job WHERE id = :job_id AND status = 'processing'
          FOR UPDATE SKIP LOCKED) free,
        (SELECT sum(progress_done)::integer AS done,
             sum(progress_fps) FILTER (WHERE status = 'running') AS fps
         FROM segment WHERE job_id = :job_id) sums
    WHERE job.id = free_id
    """
)

# Whoever ends a segment holds its job's row first: ends are counted one after the other.
LOCK_JOB = text(
    "SELECT id, attempt, cancel_requested_at IS NOT NULL AS is_cancel_asked FROM job"
    " WHERE id = :job_id AND status = 'processing' AND segments IS NOT NULL FOR UPDATE"
)
LOCK_JOB_IF_FREE = text(f"{LOCK_JOB.text} SKIP LOCKED")
END = text(
    """
    WITH ended AS (
        UPDATE segment SET
            status = :status, lease_owner = NULL, lease_expires_at = NULL, dispatched_at = NULL,
            progress_done = CASE CAST(:status AS varchar) WHEN 'done' THEN frames
                WHEN 'waiting' THEN 0 ELSE progress_done END,
            progress_fps = NULL, files = CAST(:files AS jsonb), data = CAST(:data AS jsonb),
            usage_report = CAST(:report AS jsonb),
            wall_us = coalesce((SELECT extract(epoch FROM
                    coalesce(made.finished_at, clock_timestamp()) - made.started_at) * 1000000
                FROM segment_attempt made WHERE made.job_id = :job_id AND segment = :number
                    AND made.number = :made_by)::bigint, 0)
        WHERE job_id = :job_id AND number = :number AND attempt = :attempt AND status = 'running'
        RETURNING number
    ), closed AS (
        UPDATE segment_attempt SET finished_at = clock_timestamp(), outcome = :outcome,
            error = CAST(:error AS jsonb)
        FROM ended WHERE job_id = :job_id AND segment = :number
            AND segment_attempt.number = :attempt
    )
    SELECT number FROM ended
    """
)
COUNT_DONE = text(
    """
    UPDATE job SET segments_done = segments_done + 1, dispatched_at = NULL
    WHERE id = :job_id RETURNING segments_done = segments
    """
)
ANY_RUNNING = text(
    "SELECT EXISTS (SELECT FROM segment WHERE job_id = :job_id AND status='running')"
)
DROP_REST = text(
    """
    WITH dropped AS (
        UPDATE segment SET status = 'dropped', lease_owner = NULL, lease_expires_at = NULL,
            dispatched_at = NULL, progress_fps = NULL
        WHERE job_id = :job_id AND status IN ('waiting','running')
        RETURNING job_id, number, attempt
    )
    UPDATE segment_attempt SET finished_at = clock_timestamp(), outcome = 'dropped'
    FROM dropped WHERE segment_attempt.job_id = dropped.job_id
        AND segment = dropped.number AND segment_attempt.number = dropped.attempt
        AND finished_at IS NULL
    """
)

WITH_LOST = text(
    "SELECT DISTINCT job_id FROM segment"
    " WHERE status = 'running' AND lease_expires_at < clock_timestamp() LIMIT :limit"
)
RESCUE = text(
    """
    WITH lost AS (
        UPDATE segment SET status = 'waiting', dispatched_at = NULL, lease_owner = NULL,
            lease_expires_at = NULL, progress_done = 0, progress_fps = NULL
        WHERE job_id = :job_id AND status = 'running' AND lease_expires_at < clock_timestamp()
        RETURNING job_id, number, attempt
    ), closed AS (
        UPDATE segment_attempt SET outcome = 'lost', finished_at = clock_timestamp()
        FROM lost WHERE segment_attempt.job_id = lost.job_id
            AND segment = lost.number AND segment_attempt.number = lost.attempt
    )
    SELECT number, attempt FROM lost ORDER BY number
    """
)
STOPPED = text(
    """
    SELECT id, attempt FROM job
    WHERE segments IS NOT NULL AND status IN ('starting','processing','finalizing')
        AND cancel_requested_at IS NOT NULL AND lease_expires_at IS NULL
        AND NOT EXISTS (SELECT FROM segment WHERE job_id = job.id AND status = 'running')
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)

MEASURED = text(
    "SELECT usage_report, wall_us FROM segment WHERE job_id = :job_id"
    " AND status IN ('done','canceled') AND usage_report IS NOT NULL ORDER BY number"
)
PARTS = text("SELECT * FROM segment WHERE job_id = :job_id ORDER BY number")

JOINABLE = text(
    """
    SELECT id AS job_id, attempt, max_runtime_s, dispatched_at IS NOT NULL AS is_published,
        coalesce(dispatched_at < clock_timestamp() - make_interval(secs => :stale_s), false)
            AS is_stale
    FROM job
    WHERE segments IS NOT NULL AND status IN ('starting','processing','finalizing')
        AND segments_done = segments AND lease_expires_at IS NULL AND cancel_requested_at IS NULL
    ORDER BY id
    """
)
MARK_JOIN_DISPATCHED = text(
    "UPDATE job SET dispatched_at = clock_timestamp() WHERE id = ANY(:job_ids)"
    " AND segments_done = segments AND lease_expires_at IS NULL RETURNING id"
)
CLAIM_JOIN = text(
    f"""
    WITH claimed AS (
        UPDATE job SET
            status = 'finalizing', attempt = attempt + 1, lease_owner = :worker,
            lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s)
        WHERE id = :job_id AND segments_done = segments AND status IN ('processing','finalizing')
            AND lease_expires_at IS NULL AND cancel_requested_at IS NULL
        RETURNING *
    ), {OPENED}
    """  # noqa: S608 - constants
)
REOPEN = text(
    """
    WITH reopened AS (
        UPDATE segment SET status = 'waiting', dispatched_at = NULL, progress_done = 0,
            files = NULL, data = NULL, usage_report = NULL, wall_us = 0
        WHERE job_id = :job_id AND number = ANY(:numbers) AND status = 'done' RETURNING number
    ), moved AS (
        UPDATE job SET status = 'processing', dispatched_at = NULL, lease_owner = NULL,
            lease_expires_at = NULL,
            segments_done = segments_done - (SELECT count(*) FROM reopened)
        WHERE id = :job_id AND attempt = :attempt AND status = 'finalizing' RETURNING id, attempt
    ), closed AS (
        UPDATE attempt SET finished_at = clock_timestamp(), outcome = 'failed',
            error = CAST(:error AS jsonb)
        FROM moved WHERE attempt.job_id = moved.id AND attempt.number = moved.attempt
    )
    SELECT id FROM moved
    """
)

ENDED_WITH_OBJECTS = text(
    """
    SELECT segment.job_id, number, object_name, files FROM segment JOIN job ON job.id = job_id
    WHERE has_objects AND job.finished_at IS NOT NULL ORDER BY job_id, number LIMIT :limit
    """
)
FORGET_OBJECTS = text(
    "UPDATE segment SET has_objects = false WHERE job_id = :job_id AND number = ANY(:numbers)"
)
NOTIFY = text("SELECT pg_notify('pixelmeter_jobs', '')")
