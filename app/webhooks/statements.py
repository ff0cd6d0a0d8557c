"""The SQL of deliveries. Times are ``clock_timestamp()`` of the database."""

from sqlalchemy import text

NOTIFY_DELIVERIES = text("SELECT pg_notify('pixelmeter_deliveries', '')")

LAST_SEQUENCES = text(
    "SELECT job_id, max(sequence) AS sequence FROM webhook_event"
    " WHERE job_id = ANY(CAST(:job_ids AS varchar[])) GROUP BY job_id"
)
INSERT_EVENTS = text(
    """
    INSERT INTO webhook_event (id, tenant_id, job_id, type, sequence, body)
    SELECT * FROM unnest(CAST(:ids AS varchar[]), CAST(:tenant_ids AS varchar[]),
                         CAST(:job_ids AS varchar[]), CAST(:types AS varchar[]),
                         CAST(:sequences AS integer[]), CAST(:bodies AS text[]))
    ON CONFLICT DO NOTHING RETURNING id
    """
)
# An endpoint at the same address as the job's own webhook hears of it once.
INSERT_DELIVERIES = text(
    """
    INSERT INTO webhook_delivery (id, event_id, tenant_id, endpoint_id, lane, url, secret, status,
                                  attempts)
    SELECT d.*, 'pending', 0
      FROM unnest(CAST(:ids AS varchar[]), CAST(:event_ids AS varchar[]),
                  CAST(:tenant_ids AS varchar[]), CAST(:endpoint_ids AS varchar[]),
                  CAST(:lanes AS varchar[]), CAST(:urls AS text[]), CAST(:secrets AS bytea[])) d
    ON CONFLICT DO NOTHING
    """
)

# One step per lane that has anything pending (a skip scan over the partial index), and from each
# lane no more than its cap allows: ten thousand deliveries to a dead endpoint cost one step.
_DUE = """
    WITH RECURSIVE lanes AS (
        (SELECT lane FROM webhook_delivery WHERE status = 'pending' ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT d.lane FROM webhook_delivery d
                WHERE d.status = 'pending' AND d.lane > lanes.lane ORDER BY d.lane LIMIT 1)
        FROM lanes WHERE lanes.lane IS NOT NULL
    )
    SELECT due.id, due.next_attempt_at FROM lanes CROSS JOIN LATERAL (
        SELECT d.id, d.next_attempt_at FROM webhook_delivery d
        WHERE d.status = 'pending' AND d.lane = lanes.lane
            AND d.next_attempt_at <= clock_timestamp()
            AND (d.claimed_until IS NULL OR d.claimed_until <= clock_timestamp())
        ORDER BY d.next_attempt_at
        LIMIT greatest(0, :cap - (
            SELECT count(*) FROM webhook_delivery busy
            WHERE busy.status = 'pending' AND busy.lane = lanes.lane
                AND busy.claimed_until > clock_timestamp()))
    ) due
    ORDER BY due.next_attempt_at LIMIT :limit
"""

DUE = text(_DUE)

# Any 64-bit number will do; it only has to be ours.
CLAIM_TURN = text("SELECT pg_advisory_xact_lock(7110264151)")

CLAIM = text(
    f"""
    WITH due AS ({_DUE}), free AS (
        SELECT id FROM webhook_delivery WHERE id IN (SELECT id FROM due) FOR UPDATE SKIP LOCKED
    )
    UPDATE webhook_delivery d
    SET claimed_until = clock_timestamp() + make_interval(secs => :claim_s)
    FROM free, webhook_event e WHERE d.id = free.id AND e.id = d.event_id
    RETURNING d.id, d.attempts + 1 AS number, d.url, d.secret, e.type, e.body, d.endpoint_id
    """  # noqa: S608 - two constants of this module, no values
)

INSERT_ATTEMPT = text(
    """
    INSERT INTO webhook_attempt
        (delivery_id, number, status_code, error, duration_ms, response_excerpt)
    VALUES (:id, :number, :status_code, :error, :duration_ms, :excerpt)
    ON CONFLICT DO NOTHING
    """
)

# Guarded by the attempt's number: a sender that slept past its claim changes nothing.
CLOSE_ATTEMPT = text(
    """
    UPDATE webhook_delivery SET
        attempts = :number, status = CAST(:status AS varchar),
        claimed_until = NULL, published_at = NULL,
        delivered_at = CASE WHEN CAST(:status AS varchar) = 'delivered' THEN clock_timestamp() END,
        next_attempt_at = clock_timestamp() + make_interval(secs => :wait_s)
    WHERE id = :id AND attempts = :number - 1 AND status = 'pending'
    """
)

FORGET_FLEETING = text(
    """
    WITH old AS (
        SELECT id FROM webhook_event WHERE type = 'job.progress'
            AND created_at < clock_timestamp() - make_interval(secs => :age_s) LIMIT :limit
    ), deliveries AS (
        DELETE FROM webhook_delivery WHERE event_id IN (SELECT id FROM old) RETURNING id
    ), attempts AS (
        DELETE FROM webhook_attempt WHERE delivery_id IN (
            SELECT d.id FROM webhook_delivery d JOIN old ON old.id = d.event_id)
    )
    DELETE FROM webhook_event WHERE id IN (SELECT id FROM old) RETURNING id
    """
)

DISABLE_ENDPOINT = text("UPDATE webhook_endpoint SET enabled = false WHERE id = :endpoint_id")
DISABLE_PENDING = text(
    "UPDATE webhook_delivery SET status = 'disabled', next_attempt_at = NULL, claimed_until = NULL"
    " WHERE endpoint_id = :endpoint_id AND status = 'pending'"
)

REPLAY = text(
    """
    UPDATE webhook_delivery
    SET status = 'pending', next_attempt_at = clock_timestamp(), claimed_until = NULL
    WHERE id = :id AND tenant_id = :tenant_id RETURNING id
    """
)
