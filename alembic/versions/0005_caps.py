"""Caps: how much a tenant, project, key or end user may spend in a day or month; freezing.

A hold reserves from every cap that covers it, under the wallet's lock, in the statement that
places it. Closing it moves the reservation to what was used, by a trigger, so that whoever closes
a hold, and however, the rows of its caps follow. A window is named by its first local date in the
tenant's zone: nothing resets, and no change of the clock makes a date happen twice.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PREVIOUS = "0001_billing.py"  # where the place_hold stands that this one replaces

# A hold knows who spends, so that a cap can count from the start of its window, not from its own.
# BRIN: holds come in the order of time; it costs an INSERT next to nothing.
TABLES = """
ALTER TABLE billing.wallet ADD COLUMN frozen_at timestamptz, ADD COLUMN frozen_reason text,
    ADD CONSTRAINT frozen_for_a_reason CHECK ((frozen_at IS NULL) = (frozen_reason IS NULL));
ALTER TABLE billing.hold ADD COLUMN project text, ADD COLUMN api_key text,
    ADD COLUMN end_user text, ADD COLUMN capped boolean NOT NULL DEFAULT false;
CREATE INDEX ix_hold_placed_at ON billing.hold USING brin (placed_at);

CREATE TABLE billing.budget (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wallet     bigint NOT NULL REFERENCES billing.wallet,
    set_by     text NOT NULL CHECK (set_by IN ('operator', 'tenant')),
    scope      text NOT NULL CHECK (scope IN ('tenant', 'project', 'key', 'end_user')),
    subject    text NOT NULL CHECK ((subject = '') = (scope = 'tenant')),
    period     text NOT NULL CHECK (period IN ('day', 'month')),
    zone       text NOT NULL,
    amount     bigint NOT NULL CHECK (amount >= 0),
    created_at timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE UNIQUE INDEX uq_budget_in_force
    ON billing.budget (wallet, scope, subject, period, set_by) WHERE ended_at IS NULL;

-- "carried" is the part of "used" that was charged in the window before the cap was set.
CREATE TABLE billing.budget_usage (
    budget       bigint NOT NULL REFERENCES billing.budget,
    subject      text NOT NULL,
    window_start date NOT NULL,
    reserved     bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    used         bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    carried      bigint NOT NULL DEFAULT 0 CHECK (carried >= 0),
    PRIMARY KEY (budget, subject, window_start)
) WITH (fillfactor = 50);

CREATE TABLE billing.hold_budget (
    hold         text NOT NULL,
    budget       bigint NOT NULL,
    subject      text NOT NULL,
    window_start date NOT NULL,
    PRIMARY KEY (hold, budget)
);
"""

# "every subject of its own" is a budget whose subject is '*'.
MATCHING = """
CREATE FUNCTION billing.window_of(p_period text, p_zone text, p_at timestamptz)
RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT date_trunc(p_period, p_at AT TIME ZONE p_zone)::date
$$;

CREATE FUNCTION billing.budgets_covering(
    p_wallet bigint, p_at timestamptz, p_project text, p_api_key text, p_end_user text
) RETURNS TABLE (
    budget bigint, set_by text, scope text, subject text, period text, zone text, amount bigint,
    window_start date
) LANGUAGE sql STABLE AS $$
    SELECT b.id, b.set_by, b.scope, s.subject, b.period, b.zone, b.amount,
           billing.window_of(b.period, b.zone, p_at)
      FROM billing.budget b, LATERAL (
           SELECT CASE b.scope WHEN 'tenant' THEN '' WHEN 'project' THEN p_project
                               WHEN 'key' THEN p_api_key ELSE p_end_user END AS subject) s
     WHERE b.wallet = p_wallet AND b.ended_at IS NULL AND b.subject IN (s.subject, '*')
       AND s.subject IS NOT NULL
$$;
"""

# All or nothing: "cap" describes the one that is reached, else every cap has its reservation.
# Of several that are reached it names the one that stays so for longer.
RESERVE_BUDGETS = """
CREATE FUNCTION billing.reserve_budgets(
    p_wallet bigint, p_hold text, p_amount bigint, p_at timestamptz,
    p_project text, p_api_key text, p_end_user text,
    OUT capped boolean, OUT cap jsonb
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT jsonb_build_object(
               'id', c.budget, 'set_by', c.set_by, 'scope', c.scope, 'subject', c.subject,
               'period', c.period, 'zone', c.zone, 'window', c.window_start, 'limit', c.amount,
               'used', coalesce(u.used, 0), 'reserved', coalesce(u.reserved, 0)) INTO cap
      FROM billing.budgets_covering(p_wallet, p_at, p_project, p_api_key, p_end_user) c
      LEFT JOIN billing.budget_usage u
             ON u.budget = c.budget AND u.subject = c.subject AND u.window_start = c.window_start
     WHERE p_amount > 0
       AND coalesce(u.used, 0) + coalesce(u.reserved, 0) + p_amount > c.amount
     ORDER BY c.period DESC, c.budget LIMIT 1;
    IF cap IS NOT NULL THEN
        capped := false;
        RETURN;
    END IF;
    WITH covering AS (
        SELECT c.* FROM billing.budgets_covering(
            p_wallet, p_at, p_project, p_api_key, p_end_user) c
    ), pinned AS (
        INSERT INTO billing.hold_budget (hold, budget, subject, window_start)
        SELECT p_hold, c.budget, c.subject, c.window_start FROM covering c
    )
    INSERT INTO billing.budget_usage AS u (budget, subject, window_start, reserved)
    SELECT c.budget, c.subject, c.window_start, p_amount FROM covering c
    ON CONFLICT (budget, subject, window_start)
    DO UPDATE SET reserved = u.reserved + p_amount;
    capped := FOUND;
END $$;
"""

RELEASE_BUDGETS = """
CREATE FUNCTION billing.release_budgets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing.budget_usage u
       SET reserved = u.reserved - NEW.amount, used = u.used + NEW.captured
      FROM billing.hold_budget p
     WHERE p.hold = NEW.id AND u.budget = p.budget AND u.subject = p.subject
       AND u.window_start = p.window_start;
    RETURN NULL;
END $$;
CREATE TRIGGER budgets_follow AFTER UPDATE ON billing.hold FOR EACH ROW
    WHEN (OLD.state = 'open' AND NEW.state <> 'open' AND NEW.capped)
    EXECUTE FUNCTION billing.release_budgets();
"""

# Everything of a hold in one call; as before, and: a frozen wallet holds nothing new, and every
# cap in force is asked. A wallet without caps pays one look into an index for them.
# Outcomes: placed, replayed, mismatch, frozen, insufficient, capped (then "cap" says which),
# no_wallet.
PLACE_HOLD = """
CREATE FUNCTION billing.place_hold(
    p_tenant text, p_hold text, p_job text, p_amount bigint, p_expires_at timestamptz,
    p_now timestamptz DEFAULT NULL, p_project text DEFAULT NULL, p_api_key text DEFAULT NULL,
    p_end_user text DEFAULT NULL,
    OUT outcome text, OUT available bigint, OUT cap jsonb
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_wallet record;
    v_hold   record;
    v_at     timestamptz;
    v_drawn  bigint;
    v_capped boolean := false;
BEGIN
    SELECT w.id, w.available, w.frozen_at INTO v_wallet
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
        SELECT w.id, w.available INTO v_wallet FROM billing.wallet w WHERE w.id = v_wallet.id;
    END IF;
    IF v_wallet.available < p_amount THEN
        outcome := 'insufficient';
        available := v_wallet.available;
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
          FROM (SELECT q.id, q.seq, least(q.remaining, p_amount - q.before)::bigint AS amount
                  FROM queue q WHERE q.before < p_amount) d
         WHERE g.id = d.id
        RETURNING g.id, d.seq, d.amount
    ), placed AS (
        INSERT INTO billing.hold (id, wallet, job, amount, placed_at, expires_at, project,
                                  api_key, end_user, capped)
        VALUES (p_hold, v_wallet.id, p_job, p_amount, v_at, p_expires_at, p_project, p_api_key,
                p_end_user, v_capped)
    ), pinned AS (
        INSERT INTO billing.hold_grant (hold, seq, token_grant, amount)
        SELECT p_hold, d.seq, d.id, d.amount FROM drawn d
    ), booked AS (
        INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref, occurred_at,
                                     actor, available_after)
        VALUES (v_wallet.id, 'hold:' || p_job, p_hold || ':' || p_amount, 'hold', p_job, v_at,
                'submit', v_wallet.available - p_amount)
        RETURNING id
    ), moved AS (
        INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
        SELECT b.id, d.seq, v_wallet.id, 'available', 'held', d.amount, d.id FROM booked b, drawn d
    ), counted AS (
        UPDATE billing.wallet w
           SET available = w.available - p_amount, held = w.held + p_amount,
               version = w.version + 1
         WHERE w.id = v_wallet.id
    )
    SELECT coalesce(sum(d.amount), 0) INTO v_drawn FROM drawn d;
    IF v_drawn <> p_amount THEN
        RAISE EXCEPTION 'wallet % shows % but its grants gave only % of %: reconcile it',
            v_wallet.id, v_wallet.available, v_drawn, p_amount;
    END IF;
    outcome := 'placed';
    available := v_wallet.available - p_amount;
END $$;
"""

OLD_PLACE_HOLD = "billing.place_hold(text, text, text, bigint, timestamptz, timestamptz)"
NEW_PLACE_HOLD = (
    "billing.place_hold(text, text, text, bigint, timestamptz, timestamptz, text, text, text)"
)


def upgrade() -> None:
    op.execute(TABLES)
    for functions in (MATCHING, RESERVE_BUDGETS, RELEASE_BUDGETS):
        op.execute(functions)
    op.execute(f"DROP FUNCTION {OLD_PLACE_HOLD}")
    op.execute(PLACE_HOLD)


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {NEW_PLACE_HOLD}")
    op.execute(runpy.run_path(str(Path(__file__).with_name(PREVIOUS)))["PLACE_HOLD"])
    op.execute("DROP TRIGGER budgets_follow ON billing.hold")
    op.execute("DROP FUNCTION billing.release_budgets()")
    op.execute(
        "DROP FUNCTION billing.reserve_budgets(bigint, text, bigint, timestamptz, text, text, text)"
    )
    op.execute("DROP FUNCTION billing.budgets_covering(bigint, timestamptz, text, text, text)")
    op.execute("DROP FUNCTION billing.window_of(text, text, timestamptz)")
    op.execute("DROP TABLE billing.hold_budget, billing.budget_usage, billing.budget")
    op.execute(
        "ALTER TABLE billing.hold DROP COLUMN project, DROP COLUMN api_key, DROP COLUMN end_user,"
        " DROP COLUMN capped"
    )
    op.execute("DROP INDEX billing.ix_hold_placed_at")
    op.execute("ALTER TABLE billing.wallet DROP COLUMN frozen_at, DROP COLUMN frozen_reason")
