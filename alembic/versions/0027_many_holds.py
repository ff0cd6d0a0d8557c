"""Many holds of one wallet in one statement: what a batch of jobs is accepted with.

The same as ``place_hold`` for each, in the order given. Where nothing can be refused, no cap counts
and the wallet's own tokens cover everything, all of it is one walk over the grants; else each
hold is placed by ``place_hold`` itself.
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

# Outcomes as of place_hold.
PLACE_HOLDS = """
CREATE FUNCTION billing.place_holds(
    p_tenant text, p_holds text[], p_jobs text[], p_amounts bigint[],
    p_expire_at timestamptz[], p_now timestamptz, p_projects text[], p_api_keys text[],
    p_end_users text[]
) RETURNS TABLE (job text, outcome text, available bigint, cap jsonb)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_wallet record;
    v_at     timestamptz;
    v_total  bigint;
    v_drawn  bigint;
BEGIN
    SELECT w.id, w.available, w.frozen_at INTO v_wallet
      FROM billing.wallet w WHERE w.tenant = p_tenant FOR UPDATE;
    v_at := coalesce(p_now, clock_timestamp());
    IF FOUND AND EXISTS (SELECT FROM billing.token_grant g
                          WHERE g.wallet = v_wallet.id AND g.open AND g.expires_at <= v_at) THEN
        PERFORM billing.shed_expired(v_wallet.id, v_at);
        SELECT w.available INTO v_wallet.available
          FROM billing.wallet w WHERE w.id = v_wallet.id;
    END IF;
    SELECT coalesce(sum(a.amount), 0) INTO v_total FROM unnest(p_amounts) a (amount);
    IF v_wallet.id IS NULL OR v_wallet.frozen_at IS NOT NULL OR v_total > v_wallet.available
       OR EXISTS (SELECT FROM billing.budget b
                   WHERE b.wallet = v_wallet.id AND b.ended_at IS NULL)
       OR EXISTS (SELECT FROM billing.hold h WHERE h.job = ANY (p_jobs)) THEN
        RETURN QUERY
        SELECT a.job, h.outcome, h.available, h.cap
          FROM unnest(p_holds, p_jobs, p_amounts, p_expire_at, p_projects, p_api_keys, p_end_users)
               WITH ORDINALITY a (hold, job, amount, expire_at, project, api_key, end_user, nr),
               LATERAL billing.place_hold(p_tenant, a.hold, a.job, a.amount, a.expire_at, v_at,
                                          a.project, a.api_key, a.end_user) h
         ORDER BY a.nr;
        RETURN;
    END IF;

    -- Holds and grants laid end to end: a hold draws from the grants that lie under it.
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT a.*, sum(a.amount) OVER (ORDER BY a.nr)::bigint AS upto
          FROM unnest(p_holds, p_jobs, p_amounts, p_expire_at, p_projects, p_api_keys, p_end_users)
               WITH ORDINALITY a (hold, job, amount, expire_at, project, api_key, end_user, nr)
    ), queue AS MATERIALIZED (
        SELECT g.id, row_number() OVER walk AS place, g.remaining,
               sum(g.remaining) OVER walk AS upto
          FROM billing.token_grant g
         WHERE g.wallet = v_wallet.id AND g.open
           AND (g.expires_at IS NULL OR g.expires_at > v_at)
        WINDOW walk AS (ORDER BY g.priority, g.expires_at NULLS LAST, g.id
                        ROWS UNBOUNDED PRECEDING)
    ), part AS MATERIALIZED (
        SELECT a.nr, a.hold, a.job, q.id,
               row_number() OVER (PARTITION BY a.nr ORDER BY q.place)::integer AS seq,
               (least(a.upto, q.upto)
                - greatest(a.upto - a.amount, q.upto - q.remaining))::bigint AS amount
          FROM asked a
          JOIN queue q ON q.upto > a.upto - a.amount AND q.upto - q.remaining < a.upto
         WHERE a.amount > 0
    ), drawn AS (
        UPDATE billing.token_grant g
           SET remaining = g.remaining - p.amount, held = g.held + p.amount
          FROM (SELECT part.id, sum(part.amount)::bigint AS amount FROM part GROUP BY part.id) p
         WHERE g.id = p.id
    ), placed AS (
        INSERT INTO billing.hold (id, wallet, job, amount, placed_at, expires_at, project,
                                  api_key, end_user, capped)
        SELECT a.hold, v_wallet.id, a.job, a.amount, v_at, a.expire_at, a.project, a.api_key,
               a.end_user, false
          FROM asked a
    ), pinned AS (
        INSERT INTO billing.hold_grant (hold, seq, token_grant, amount)
        SELECT p.hold, p.seq, p.id, p.amount FROM part p
    ), booked AS (
        INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref, occurred_at,
                                     actor, available_after)
        SELECT v_wallet.id, 'hold:' || a.job, a.hold || ':' || a.amount, 'hold', a.job, v_at,
               'submit', v_wallet.available - a.upto
          FROM asked a ORDER BY a.nr
        RETURNING id, ref
    ), moved AS (
        INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
        SELECT b.id, p.seq, v_wallet.id, 'available', 'held', p.amount, p.id
          FROM part p JOIN booked b ON b.ref = p.job
    ), counted AS (
        UPDATE billing.wallet w
           SET available = w.available - v_total, held = w.held + v_total,
               version = w.version + (SELECT count(*) FROM asked)
         WHERE w.id = v_wallet.id
    )
    SELECT a.job, 'placed'::text, v_wallet.available - a.upto, NULL::jsonb
      FROM asked a ORDER BY a.nr;

    SELECT coalesce(sum(g.amount), 0) INTO v_drawn
      FROM billing.hold_grant g WHERE g.hold = ANY (p_holds);
    IF v_drawn <> v_total THEN
        RAISE EXCEPTION 'wallet % shows % but its grants gave only % of %: reconcile it',
            v_wallet.id, v_wallet.available, v_drawn, v_total;
    END IF;
END $$;
"""


def upgrade() -> None:
    op.execute(PLACE_HOLDS)


def downgrade() -> None:
    op.execute(
        "DROP FUNCTION billing.place_holds(text, text[], text[], bigint[], timestamptz[],"
        " timestamptz, text[], text[], text[])"
    )
