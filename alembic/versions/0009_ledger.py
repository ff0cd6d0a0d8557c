"""The ledger, complete: credit of postpaid tenants, settlements folded, refunds, corrections.

Credit is a grant of kind ``credit``, one for each postpaid wallet: a hold that the wallet's own
tokens do not cover lends the rest (debt -> held), what is charged stays owed, what is not goes
back (held -> debt). Nothing of it is ever available, so no draw walks over it. ``granted`` and
``revoked`` of a grant are sums of what came in and went back; only for credit do they grow.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SETTLED_BEFORE = "0001_billing.py"  # where the functions stand that these replace
PLACED_BEFORE = "0005_caps.py"

KINDS = ("purchase", "grant", "quota", "refund", "bulk", "subscription")
JOURNALS = ("grant", "hold", "settle", "expire")
NEW_KINDS = ("credit", "goodwill")
NEW_JOURNALS = ("void", "refund", "revoke", "repay", "correction")

TABLES = """
ALTER TABLE billing.wallet
    ADD COLUMN mode text NOT NULL DEFAULT 'prepaid' CHECK (mode IN ('prepaid', 'postpaid')),
    ADD COLUMN credit_grant bigint,
    ADD CONSTRAINT postpaid_has_credit CHECK (mode = 'prepaid' OR credit_grant IS NOT NULL);
ALTER TABLE billing.token_grant DROP CONSTRAINT token_grant_granted_check;
ALTER TABLE billing.token_grant ADD CONSTRAINT token_grant_granted_check CHECK (granted >= 0);

-- 'expired': given back because nobody ended it in time; a late settlement may still follow.
ALTER TABLE billing.hold DROP CONSTRAINT hold_state_check;
ALTER TABLE billing.hold ADD CONSTRAINT hold_state_check
    CHECK (state IN ('open', 'captured', 'released', 'expired'));
CREATE INDEX ix_hold_open ON billing.hold (expires_at) WHERE state = 'open';

-- An entry is taken back at most once.
CREATE UNIQUE INDEX uq_journal_reverses ON billing.journal (reverses) WHERE reverses IS NOT NULL;

-- Rows come with their usage record under the lock of the hold: the check cost a tenth of a
-- settlement and held without it.
ALTER TABLE billing.charge DROP CONSTRAINT charge_job_fkey;
ALTER TABLE billing.charge DROP CONSTRAINT charge_status_check;
ALTER TABLE billing.charge ADD CONSTRAINT charge_status_check
    CHECK (status IN ('settled', 'quarantined', 'unpriced', 'late'));

-- The running total stands in each row, so that the database itself refuses more than was charged.
CREATE TABLE billing.refund (
    job            text NOT NULL,
    seq            integer NOT NULL CHECK (seq > 0),
    wallet         bigint NOT NULL,
    journal        bigint NOT NULL UNIQUE,
    amount         bigint NOT NULL CHECK (amount > 0),
    refunded_after bigint NOT NULL CHECK (refunded_after >= amount),
    charged        bigint NOT NULL CHECK (refunded_after <= charged),
    reason         text NOT NULL,
    actor          text NOT NULL,
    refunded_at    timestamptz NOT NULL,
    PRIMARY KEY (job, seq)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.refund
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
"""

# Everything that is not on the way of every job is booked by this one function: a journal, its
# lines as [debit, credit, amount, grant or null], and the columns that follow from them. The
# caller has locked the wallet and looked for the key.
BOOK = """
CREATE FUNCTION billing.book(
    p_wallet bigint, p_key text, p_fingerprint text, p_kind text, p_ref text, p_actor text,
    p_approval text, p_reverses bigint, p_at timestamptz, p_lines jsonb
) RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_journal   bigint;
    v_available bigint;
BEGIN
    UPDATE billing.token_grant g
       SET granted = g.granted + s.granted, remaining = g.remaining + s.remaining,
           held = g.held + s.held, spent = g.spent + s.spent, expired = g.expired + s.expired,
           revoked = g.revoked + s.revoked
      FROM (SELECT m.token_grant, sum(m.granted) AS granted, sum(m.remaining) AS remaining,
                   sum(m.held) AS held, sum(m.spent) AS spent, sum(m.expired) AS expired,
                   sum(m.revoked) AS revoked
              FROM jsonb_array_elements(p_lines) l,
                   billing.grant_moves(l ->> 0, l ->> 1, (l ->> 2)::bigint, (l ->> 3)::bigint) m
             WHERE m.token_grant IS NOT NULL GROUP BY m.token_grant) s
     WHERE g.id = s.token_grant;
    UPDATE billing.wallet w
       SET available = w.available + s.available, held = w.held + s.held, debt = w.debt + s.debt,
           version = w.version + 1
      FROM (SELECT coalesce(sum(a.amount * CASE 'available' WHEN a.credit THEN 1
                                     WHEN a.debit THEN -1 ELSE 0 END), 0) AS available,
                   coalesce(sum(a.amount * CASE 'held' WHEN a.credit THEN 1
                                     WHEN a.debit THEN -1 ELSE 0 END), 0) AS held,
                   coalesce(sum(a.amount * CASE 'debt' WHEN a.debit THEN 1
                                     WHEN a.credit THEN -1 ELSE 0 END), 0) AS debt
              FROM (SELECT l ->> 0 AS debit, l ->> 1 AS credit, (l ->> 2)::bigint AS amount
                      FROM jsonb_array_elements(p_lines) l) a) s
     WHERE w.id = p_wallet RETURNING w.available INTO v_available;
    INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref, occurred_at, actor,
                                 approval, reverses, available_after)
    VALUES (p_wallet, p_key, p_fingerprint, p_kind, p_ref, p_at, p_actor, p_approval, p_reverses,
            v_available)
    RETURNING id INTO v_journal;
    INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
    SELECT v_journal, l.seq, p_wallet, l.line ->> 0, l.line ->> 1, (l.line ->> 2)::bigint,
           (l.line ->> 3)::bigint
      FROM jsonb_array_elements(p_lines) WITH ORDINALITY l (line, seq);
    RETURN v_journal;
END $$;
"""

# What a transfer means for the grant it names. The one definition: bookings, the rebuild and the
# reconciliation all follow it.
GRANT_MOVES = """
CREATE FUNCTION billing.grant_moves(
    p_debit text, p_credit text, p_amount bigint, p_grant bigint
) RETURNS TABLE (
    token_grant bigint, granted bigint, remaining bigint, held bigint, spent bigint,
    expired bigint, revoked bigint
) LANGUAGE sql IMMUTABLE AS $$
    SELECT p_grant,
           CASE WHEN p_debit NOT IN ('available', 'held', 'revenue', 'breakage')
                THEN p_amount ELSE 0 END,
           CASE 'available' WHEN p_credit THEN p_amount WHEN p_debit THEN -p_amount ELSE 0 END,
           CASE 'held' WHEN p_credit THEN p_amount WHEN p_debit THEN -p_amount ELSE 0 END,
           CASE 'revenue' WHEN p_credit THEN p_amount WHEN p_debit THEN -p_amount ELSE 0 END,
           CASE 'breakage' WHEN p_credit THEN p_amount WHEN p_debit THEN -p_amount ELSE 0 END,
           CASE WHEN p_credit NOT IN ('available', 'held', 'revenue', 'breakage')
                THEN p_amount ELSE 0 END
$$;
"""

# Everything of a hold in one call, as before; and: what a postpaid wallet's own tokens do not
# cover is lent, up to its debt limit.
# Outcomes: placed, replayed, mismatch, frozen, insufficient, capped, no_wallet.
PLACE_HOLD = """
CREATE OR REPLACE FUNCTION billing.place_hold(
    p_tenant text, p_hold text, p_job text, p_amount bigint, p_expires_at timestamptz,
    p_now timestamptz DEFAULT NULL, p_project text DEFAULT NULL, p_api_key text DEFAULT NULL,
    p_end_user text DEFAULT NULL,
    OUT outcome text, OUT available bigint, OUT cap jsonb
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_wallet record;
    v_hold   record;
    v_at     timestamptz;
    v_own    bigint;
    v_lent   bigint;
    v_drawn  bigint;
    v_capped boolean := false;
BEGIN
    SELECT w.id, w.available, w.frozen_at, w.mode, w.credit_grant,
           w.debt_limit - w.debt AS credit INTO v_wallet
      FROM billing.wallet w WHERE w.tenant = p_tenant FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_wallet';
        RETURN;
    END IF;
    v_at := coalesce(p_now, clock_timestamp());

    SELECT h.id, h.amount, h.wallet, j.available_after INTO v_hold
      FROM billing.hold h
      LEFT JOIN billing.journal j ON j.wallet = h.wallet AND j.idem_key = 'hold:' || p_job
     WHERE h.job = p_job;
    IF FOUND THEN
        available := v_hold.available_after;
        outcome := CASE WHEN v_hold.id = p_hold AND v_hold.amount = p_amount
                             AND v_hold.wallet = v_wallet.id
                        THEN 'replayed' ELSE 'mismatch' END;
        RETURN;
    END IF;
    IF v_wallet.frozen_at IS NOT NULL THEN
        outcome := 'frozen';
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM billing.token_grant g
                WHERE g.wallet = v_wallet.id AND g.open AND g.expires_at <= v_at) THEN
        PERFORM billing.shed_expired(v_wallet.id, v_at);
        SELECT w.available INTO v_wallet.available
          FROM billing.wallet w WHERE w.id = v_wallet.id;
    END IF;
    IF v_wallet.mode = 'prepaid' THEN
        v_wallet.credit := 0;
    END IF;
    v_own := least(p_amount, v_wallet.available);
    v_lent := p_amount - v_own;
    IF v_lent > v_wallet.credit THEN
        outcome := 'insufficient';
        available := v_wallet.available + v_wallet.credit;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM billing.budget b
                WHERE b.wallet = v_wallet.id AND b.ended_at IS NULL) THEN
        SELECT r.capped, r.cap INTO v_capped, cap
          FROM billing.reserve_budgets(v_wallet.id, p_hold, p_amount, v_at, p_project, p_api_key,
                                       p_end_user) r;
        IF cap IS NOT NULL THEN
            outcome := 'capped';
            available := v_wallet.available;
            RETURN;
        END IF;
    END IF;

    WITH queue AS (
        SELECT g.id, g.remaining, row_number() OVER walk AS seq,
               sum(g.remaining) OVER walk - g.remaining AS before
          FROM billing.token_grant g
         WHERE g.wallet = v_wallet.id AND g.open
           AND (g.expires_at IS NULL OR g.expires_at > v_at)
        WINDOW walk AS (ORDER BY g.priority, g.expires_at NULLS LAST, g.id
                        ROWS UNBOUNDED PRECEDING)
    ), drawn AS (
        UPDATE billing.token_grant g
           SET remaining = g.remaining - d.amount, held = g.held + d.amount
          FROM (SELECT q.id, q.seq, least(q.remaining, v_own - q.before)::bigint AS amount
                  FROM queue q WHERE q.before < v_own) d
         WHERE g.id = d.id
        RETURNING g.id, d.seq, d.amount
    ), lent AS (
        UPDATE billing.token_grant g SET granted = g.granted + v_lent, held = g.held + v_lent
         WHERE g.id = v_wallet.credit_grant AND v_lent > 0
        RETURNING g.id
    ), part AS (
        SELECT d.id, d.seq, d.amount, 'available' AS debit FROM drawn d
         UNION ALL
        SELECT l.id, 1 + (SELECT count(*) FROM drawn), v_lent, 'debt' FROM lent l
    ), placed AS (
        INSERT INTO billing.hold (id, wallet, job, amount, placed_at, expires_at, project,
                                  api_key, end_user, capped)
        VALUES (p_hold, v_wallet.id, p_job, p_amount, v_at, p_expires_at, p_project, p_api_key,
                p_end_user, v_capped)
    ), pinned AS (
        INSERT INTO billing.hold_grant (hold, seq, token_grant, amount)
        SELECT p_hold, p.seq, p.id, p.amount FROM part p
    ), booked AS (
        INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref, occurred_at,
                                     actor, available_after)
        VALUES (v_wallet.id, 'hold:' || p_job, p_hold || ':' || p_amount, 'hold', p_job, v_at,
                'submit', v_wallet.available - v_own)
        RETURNING id
    ), moved AS (
        INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
        SELECT b.id, p.seq, v_wallet.id, p.debit, 'held', p.amount, p.id FROM booked b, part p
    ), counted AS (
        UPDATE billing.wallet w
           SET available = w.available - v_own, held = w.held + p_amount, debt = w.debt + v_lent,
               version = w.version + 1
         WHERE w.id = v_wallet.id
    )
    SELECT coalesce(sum(p.amount), 0) INTO v_drawn FROM part p;
    IF v_drawn <> p_amount THEN
        RAISE EXCEPTION 'wallet % shows % but its grants gave only % of %: reconcile it',
            v_wallet.id, v_wallet.available, v_drawn, p_amount;
    END IF;
    outcome := 'placed';
    available := v_wallet.available - v_own;
END $$;
"""

# Many holds in one statement, the same as one by one in the order given: capture up to the hold
# in draw order, give the rest back to the grants it came from; what came from a grant that has
# expired meanwhile is breakage, what was lent is owed no more. Wallets are locked in rising order.
# Outcomes: settled, late (given back before, see settle_late), closed; jobs without a hold are
# left out.
SETTLE_HOLDS = """
CREATE FUNCTION billing.settle_holds(
    p_jobs text[], p_prices bigint[], p_now timestamptz DEFAULT NULL
) RETURNS TABLE (
    job text, outcome text, hold text, wallet bigint, held bigint, charged bigint,
    released bigint, lapsed bigint, absorbed bigint, available_after bigint,
    settled_at timestamptz
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_wallets bigint[];
    v_wallet  bigint;
    v_late    text[];
    v_at      timestamptz;
BEGIN
    SELECT array_agg(locked.id) INTO v_wallets FROM (
        SELECT w.id FROM billing.wallet w
         WHERE w.id IN (SELECT h.wallet FROM billing.hold h WHERE h.job = ANY (p_jobs))
         ORDER BY w.id FOR UPDATE) locked;
    v_at := coalesce(p_now, clock_timestamp());
    FOR v_wallet IN
        SELECT DISTINCT g.wallet FROM billing.token_grant g
         WHERE g.wallet = ANY (v_wallets) AND g.open AND g.expires_at <= v_at ORDER BY g.wallet
    LOOP
        PERFORM billing.shed_expired(v_wallet, v_at);
    END LOOP;
    -- By the state of now: the update below closes the rest.
    SELECT array_agg(h.job) INTO v_late
      FROM billing.hold h WHERE h.job = ANY (p_jobs) AND h.state = 'expired';

    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT h.id, h.wallet, h.job, h.amount, a.nr, a.price, least(a.price, h.amount) AS taken
          FROM unnest(p_jobs, p_prices) WITH ORDINALITY a (job, price, nr)
          JOIN billing.hold h ON h.job = a.job
         WHERE h.state = 'open'
    ), split AS MATERIALIZED (
        SELECT d.job, p.seq, p.token_grant, p.amount, c.captured, p.amount - c.captured AS rest,
               CASE WHEN g.kind = 'credit' THEN 'debt' WHEN g.expires_at <= v_at THEN 'breakage'
                    ELSE 'available' END AS back
          FROM due d
          JOIN (SELECT x.*, sum(x.amount) OVER (PARTITION BY x.hold ORDER BY x.seq) AS upto
                  FROM billing.hold_grant x
                 WHERE x.hold = ANY (ARRAY (SELECT y.id FROM due y))) p ON p.hold = d.id
          JOIN billing.token_grant g ON g.id = p.token_grant,
               LATERAL (SELECT greatest(0, least(p.amount, d.taken - (p.upto - p.amount)))::bigint
                            AS captured) c
    ), given_back AS (
        UPDATE billing.token_grant g
           SET held = g.held - s.amount, spent = g.spent + s.captured,
               remaining = g.remaining + s.returned, expired = g.expired + s.expired,
               revoked = g.revoked + s.unlent
          FROM (SELECT s.token_grant, sum(s.amount) AS amount, sum(s.captured) AS captured,
                       sum(CASE s.back WHEN 'available' THEN s.rest ELSE 0 END) AS returned,
                       sum(CASE s.back WHEN 'breakage' THEN s.rest ELSE 0 END) AS expired,
                       sum(CASE s.back WHEN 'debt' THEN s.rest ELSE 0 END) AS unlent
                  FROM split s GROUP BY s.token_grant) s
         WHERE g.id = s.token_grant
    ), total AS MATERIALIZED (
        SELECT d.*, coalesce(s.lapsed, 0) AS lapsed, coalesce(s.returned, 0) AS returned,
               coalesce(s.unlent, 0) AS unlent,
               (w.available + sum(coalesce(s.returned, 0))
                                  OVER (PARTITION BY d.wallet ORDER BY d.nr))::bigint AS available
          FROM due d
          JOIN billing.wallet w ON w.id = d.wallet
          LEFT JOIN (
               SELECT s.job, sum(CASE s.back WHEN 'breakage' THEN s.rest ELSE 0 END)::bigint
                          AS lapsed,
                      sum(CASE s.back WHEN 'available' THEN s.rest ELSE 0 END)::bigint AS returned,
                      sum(CASE s.back WHEN 'debt' THEN s.rest ELSE 0 END)::bigint AS unlent
                 FROM split s GROUP BY s.job) s ON s.job = d.job
    ), closed AS (
        UPDATE billing.hold h
           SET captured = d.taken, released = d.amount - d.taken, closed_at = v_at,
               state = CASE WHEN d.taken > 0 THEN 'captured' ELSE 'released' END
          FROM due d WHERE h.id = d.id
    ), counted AS (
        UPDATE billing.wallet w
           SET available = w.available + t.returned, held = w.held - t.amount,
               debt = w.debt - t.unlent, version = w.version + t.jobs
          FROM (SELECT t.wallet, sum(t.returned) AS returned, sum(t.amount) AS amount,
                       sum(t.unlent) AS unlent, count(*) AS jobs
                  FROM total t GROUP BY t.wallet) t
         WHERE w.id = t.wallet
    ), booked AS (
        INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref, occurred_at,
                                     actor, available_after)
        SELECT t.wallet, 'settle:' || t.job, t.price::text, 'settle', t.job, v_at,
               'settlement', t.available
          FROM total t ORDER BY t.wallet, t.nr
        RETURNING id, ref AS job, journal.wallet
    ), moved AS (
        INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
        SELECT b.id, row_number() OVER (PARTITION BY b.id ORDER BY l.seq, l.nr), b.wallet,
               l.debit, l.credit, l.amount, l.token_grant
          FROM booked b JOIN (
               SELECT s.job, s.seq, 1 AS nr, 'held' AS debit, 'revenue' AS credit,
                      s.captured AS amount, s.token_grant
                 FROM split s WHERE s.captured > 0
                UNION ALL
               SELECT s.job, s.seq, 2, 'held', s.back, s.rest, s.token_grant
                 FROM split s WHERE s.rest > 0
                UNION ALL
               SELECT d.job, NULL, 3, 'overrun_absorbed', 'revenue', d.price - d.taken, NULL
                 FROM due d WHERE d.price > d.taken) l ON l.job = b.job
    )
    SELECT t.job, 'settled', t.id, t.wallet, t.amount, t.taken, t.amount - t.taken, t.lapsed,
           t.price - t.taken, t.available, v_at
      FROM total t
     UNION ALL
    SELECT h.job, 'closed', h.id, h.wallet, h.amount, NULL, NULL, NULL, NULL, NULL, NULL
      FROM billing.hold h
     WHERE h.job = ANY (p_jobs) AND h.state IN ('captured', 'released');

    RETURN QUERY
    SELECT l.* FROM unnest(p_jobs, p_prices) a (job, price),
           LATERAL billing.settle_late(a.job, a.price, v_at) l
     WHERE a.job = ANY (v_late);
END $$;
"""

# A job whose hold was given back already, settled after all: once (the charge says so), from what
# is available, at most what was held; the rest is absorbed. The wallet is locked.
SETTLE_LATE = """
CREATE FUNCTION billing.settle_late(p_job text, p_price bigint, p_at timestamptz) RETURNS TABLE (
    job text, outcome text, hold text, wallet bigint, held bigint, charged bigint,
    released bigint, lapsed bigint, absorbed bigint, available_after bigint,
    settled_at timestamptz
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_hold  record;
    v_taken bigint;
    v_lines jsonb;
    v_after bigint;
BEGIN
    SELECT h.id, h.wallet, h.amount, w.available INTO v_hold
      FROM billing.hold h JOIN billing.wallet w ON w.id = h.wallet
     WHERE h.job = p_job AND h.state = 'expired';
    IF NOT FOUND OR EXISTS (SELECT FROM billing.charge c WHERE c.job = p_job) THEN
        RETURN QUERY SELECT p_job, 'closed', v_hold.id, v_hold.wallet, v_hold.amount,
            NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
            NULL::timestamptz;
        RETURN;
    END IF;
    v_taken := least(p_price, v_hold.amount, v_hold.available);
    SELECT coalesce(jsonb_agg(jsonb_build_array('available', 'revenue', q.amount, q.id)
                              ORDER BY q.seq), '[]'::jsonb) INTO v_lines
      FROM (SELECT g.id, row_number() OVER walk AS seq,
                   least(g.remaining, v_taken - (sum(g.remaining) OVER walk - g.remaining))
                       ::bigint AS amount
              FROM billing.token_grant g
             WHERE g.wallet = v_hold.wallet AND g.open
               AND (g.expires_at IS NULL OR g.expires_at > p_at)
            WINDOW walk AS (ORDER BY g.priority, g.expires_at NULLS LAST, g.id
                            ROWS UNBOUNDED PRECEDING)) q
     WHERE q.amount > 0;
    IF p_price > v_taken THEN
        v_lines := v_lines || jsonb_build_array(
            jsonb_build_array('overrun_absorbed', 'revenue', p_price - v_taken, NULL));
    END IF;
    PERFORM billing.book(v_hold.wallet, 'settle:' || p_job, p_price::text, 'settle', p_job,
                         'settlement', NULL, NULL, p_at, v_lines);
    SELECT w.available INTO v_after FROM billing.wallet w WHERE w.id = v_hold.wallet;
    RETURN QUERY SELECT p_job, 'late', v_hold.id, v_hold.wallet, v_taken, v_taken, 0::bigint,
        0::bigint, p_price - v_taken, v_after, p_at;
END $$;
"""

# Give a hold back that nobody ended, once. Outcomes: true if this call did it.
VOID_HOLD = """
CREATE FUNCTION billing.void_hold(p_job text, p_actor text, p_approval text, p_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_hold  record;
    v_lines jsonb;
BEGIN
    PERFORM FROM billing.wallet w
      WHERE w.id = (SELECT h.wallet FROM billing.hold h WHERE h.job = p_job) FOR UPDATE;
    SELECT h.id, h.wallet, h.amount, h.state INTO v_hold
      FROM billing.hold h WHERE h.job = p_job;
    IF NOT FOUND OR v_hold.state <> 'open' THEN
        RETURN false;
    END IF;
    SELECT coalesce(jsonb_agg(jsonb_build_array(
               'held', CASE WHEN g.kind = 'credit' THEN 'debt'
                            WHEN g.expires_at <= p_at THEN 'breakage' ELSE 'available' END,
               p.amount, g.id) ORDER BY p.seq), '[]'::jsonb) INTO v_lines
      FROM billing.hold_grant p JOIN billing.token_grant g ON g.id = p.token_grant
     WHERE p.hold = v_hold.id;
    UPDATE billing.hold SET released = amount, closed_at = p_at, state = 'expired'
     WHERE id = v_hold.id;
    PERFORM billing.book(v_hold.wallet, 'void:' || p_job, v_hold.amount::text, 'void', p_job,
                         p_actor, p_approval, NULL, p_at, v_lines);
    RETURN true;
END $$;
"""

# What the product's own role may do: run everything, change no record. The owner of the tables
# migrates with another role.
ADMIT = """
CREATE FUNCTION billing.admit(p_role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kept text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA billing TO %I', p_role);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA billing TO %I', p_role);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA billing TO %I', p_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA billing TO %I',
                   p_role);
    FOR kept IN
        SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'billing' AND t.tgname = 'append_only'
    LOOP
        EXECUTE format('REVOKE DELETE, TRUNCATE ON billing.%I FROM %I', kept, p_role);
    END LOOP;
    FOR kept IN
        SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'billing' AND t.tgname = 'append_only' AND t.tgtype & 16 <> 0
    LOOP
        EXECUTE format('REVOKE UPDATE ON billing.%I FROM %I', kept, p_role);
    END LOOP;
END $$;
"""

FUNCTIONS = (GRANT_MOVES, BOOK, PLACE_HOLD, SETTLE_LATE, SETTLE_HOLDS, VOID_HOLD, ADMIT)


def allow(table: str, *, kinds: tuple[str, ...]) -> None:
    names = ", ".join(f"'{kind}'" for kind in kinds)
    op.execute(f"ALTER TABLE billing.{table} DROP CONSTRAINT {table}_kind_check")
    op.execute(
        f"ALTER TABLE billing.{table} ADD CONSTRAINT {table}_kind_check CHECK (kind IN ({names}))"
    )


def earlier(name: str) -> dict[str, str]:
    return runpy.run_path(str(Path(__file__).with_name(name)))


def upgrade() -> None:
    op.execute(TABLES)
    allow("token_grant", kinds=KINDS + NEW_KINDS)
    allow("journal", kinds=JOURNALS + NEW_JOURNALS)
    op.execute("DROP FUNCTION billing.settle_hold(text, bigint, timestamptz)")
    for function in FUNCTIONS:
        op.execute(function)


def downgrade() -> None:
    for function in (
        "admit(text)",
        "void_hold(text, text, text, timestamptz)",
        "settle_holds(text[], bigint[], timestamptz)",
        "settle_late(text, bigint, timestamptz)",
        "book(bigint, text, text, text, text, text, text, bigint, timestamptz, jsonb)",
        "grant_moves(text, text, bigint, bigint)",
    ):
        op.execute(f"DROP FUNCTION billing.{function}")
    op.execute(earlier(SETTLED_BEFORE)["SETTLE_HOLD"])
    place_hold = earlier(PLACED_BEFORE)["PLACE_HOLD"]
    op.execute(place_hold.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    allow("token_grant", kinds=KINDS)
    allow("journal", kinds=JOURNALS)
    op.execute(
        """
        DROP TABLE billing.refund;
        DROP INDEX billing.uq_journal_reverses;
        DROP INDEX billing.ix_hold_open;
        ALTER TABLE billing.hold DROP CONSTRAINT hold_state_check;
        ALTER TABLE billing.hold ADD CONSTRAINT hold_state_check
            CHECK (state IN ('open', 'captured', 'released'));
        ALTER TABLE billing.charge DROP CONSTRAINT charge_status_check;
        ALTER TABLE billing.charge ADD CONSTRAINT charge_status_check
            CHECK (status IN ('settled', 'quarantined', 'unpriced'));
        ALTER TABLE billing.charge ADD CONSTRAINT charge_job_fkey
            FOREIGN KEY (job) REFERENCES billing.usage_record;
        ALTER TABLE billing.token_grant DROP CONSTRAINT token_grant_granted_check;
        ALTER TABLE billing.token_grant ADD CONSTRAINT token_grant_granted_check
            CHECK (granted > 0);
        ALTER TABLE billing.wallet DROP COLUMN mode, DROP COLUMN credit_grant;
        """
    )
