"""The schema of money: wallets, grants, holds, journal, transfers, usage, charges, rate cards.

Amounts are BIGINT micro-tokens; GPU and wall times are BIGINT microseconds. Tokens move only in
``place_hold``, ``settle_hold``, ``shed_expired`` and the grant that ``billing/ledger.py`` books;
that module is their only caller.

Rows written on the way of every job (hold, hold_grant, journal, transfer) carry no foreign keys:
the functions take the ids from rows they have locked, the triggers below forbid every DELETE,
and reconciliation compares the sums. On one hot wallet that is a tenth of the time of a hold.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# fillfactor leaves room on the page: a balance then changes without touching an index.
TABLES = """
CREATE TABLE billing.wallet (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     text NOT NULL UNIQUE,
    available  bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    held       bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    debt       bigint NOT NULL DEFAULT 0,
    debt_limit bigint NOT NULL DEFAULT 0,
    version    bigint NOT NULL DEFAULT 0,
    CHECK (0 <= debt AND debt <= debt_limit)
) WITH (fillfactor = 50);

-- "open" is a column of its own because an index predicate on "remaining" would make every
-- draw rewrite the index.
CREATE TABLE billing.token_grant (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wallet       bigint NOT NULL REFERENCES billing.wallet,
    kind         text NOT NULL CHECK (
                     kind IN ('purchase', 'grant', 'quota', 'refund', 'bulk', 'subscription')),
    priority     integer NOT NULL,
    effective_at timestamptz NOT NULL,
    expires_at   timestamptz CHECK (expires_at > effective_at),
    granted      bigint NOT NULL CHECK (granted > 0),
    remaining    bigint NOT NULL CHECK (remaining >= 0),
    held         bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent        bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    expired      bigint NOT NULL DEFAULT 0 CHECK (expired >= 0),
    revoked      bigint NOT NULL DEFAULT 0 CHECK (revoked >= 0),
    open         boolean GENERATED ALWAYS AS (remaining > 0) STORED NOT NULL,
    CHECK (granted = remaining + held + spent + expired + revoked)
) WITH (fillfactor = 50);
CREATE INDEX ix_token_grant_draw
    ON billing.token_grant (wallet, priority, expires_at, id) WHERE open;
CREATE INDEX ix_token_grant_expiring
    ON billing.token_grant (expires_at) WHERE open AND expires_at IS NOT NULL;

CREATE TABLE billing.hold (
    id         text PRIMARY KEY,
    wallet     bigint NOT NULL,
    job        text NOT NULL UNIQUE,
    amount     bigint NOT NULL CHECK (amount >= 0),
    captured   bigint NOT NULL DEFAULT 0 CHECK (captured >= 0),
    released   bigint NOT NULL DEFAULT 0 CHECK (released >= 0),
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'captured', 'released')),
    placed_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    closed_at  timestamptz,
    CHECK (CASE state WHEN 'open' THEN captured = 0 AND released = 0 AND closed_at IS NULL
                      ELSE captured + released = amount AND closed_at IS NOT NULL END)
) WITH (fillfactor = 70);

CREATE TABLE billing.hold_grant (
    hold        text NOT NULL,
    seq         integer NOT NULL,
    token_grant bigint NOT NULL,
    amount      bigint NOT NULL CHECK (amount > 0),
    PRIMARY KEY (hold, seq)
);

CREATE TABLE billing.journal (
    id              bigint GENERATED ALWAYS AS IDENTITY,
    wallet          bigint NOT NULL,
    idem_key        text NOT NULL,
    fingerprint     text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('grant', 'hold', 'settle', 'expire')),
    ref             text NOT NULL,
    occurred_at     timestamptz NOT NULL,
    booked_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor           text NOT NULL,
    approval        text,
    reverses        bigint,
    available_after bigint NOT NULL CHECK (available_after >= 0),
    PRIMARY KEY (wallet, id),
    UNIQUE (wallet, idem_key)
);

-- "wallet" says whose available, held or debt is meant; the other accounts are the house's.
CREATE TABLE billing.transfer (
    journal     bigint NOT NULL,
    seq         integer NOT NULL,
    wallet      bigint NOT NULL,
    debit       text NOT NULL,
    credit      text NOT NULL,
    amount      bigint NOT NULL CHECK (amount > 0),
    token_grant bigint,
    PRIMARY KEY (journal, seq),
    CHECK (debit <> credit),
    CHECK (debit IN (ACCOUNTS) AND credit IN (ACCOUNTS))
);

CREATE TABLE billing.rate_card_version (
    card           text NOT NULL,
    version        integer NOT NULL CHECK (version > 0),
    effective_from timestamptz NOT NULL,
    published_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    body           jsonb NOT NULL,
    PRIMARY KEY (card, version),
    UNIQUE (card, effective_from)
);

-- tenant '*' is everybody without an assignment of their own
CREATE TABLE billing.card_assignment (
    tenant text NOT NULL,
    engine text NOT NULL,
    card   text NOT NULL,
    PRIMARY KEY (tenant, engine)
);

CREATE TABLE billing.usage_record (
    job          text PRIMARY KEY REFERENCES billing.hold (job),
    tenant       text NOT NULL,
    project      text,
    api_key      text,
    end_user     text,
    attempt      integer NOT NULL,
    outcome      text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'canceled', 'expired')),
    engine       text NOT NULL,
    model        text NOT NULL,
    device       text NOT NULL,
    quantities   jsonb NOT NULL,
    attributes   jsonb NOT NULL,
    gpu_us       bigint NOT NULL CHECK (gpu_us >= 0),
    wall_us      bigint NOT NULL CHECK (wall_us >= 0),
    card         text NOT NULL,
    card_version integer NOT NULL,
    quoted       bigint NOT NULL CHECK (quoted >= 0),
    cached       boolean NOT NULL,
    quarantined  boolean NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (card, card_version) REFERENCES billing.rate_card_version
);

-- The work list of the billing workers: a row from acceptance of the usage to its settlement.
CREATE TABLE billing.settlement_due (
    job text PRIMARY KEY REFERENCES billing.usage_record
);

CREATE TABLE billing.charge (
    job             text PRIMARY KEY REFERENCES billing.usage_record,
    wallet          bigint NOT NULL,
    hold            text NOT NULL UNIQUE,
    outcome         text NOT NULL,
    cached          boolean NOT NULL,
    status          text NOT NULL CHECK (status IN ('settled', 'quarantined', 'unpriced')),
    card            text NOT NULL,
    card_version    integer NOT NULL,
    quantities      jsonb NOT NULL,
    attributes      jsonb NOT NULL,
    lines           jsonb NOT NULL,
    multipliers     jsonb NOT NULL,
    price           bigint NOT NULL CHECK (price >= 0),
    held            bigint NOT NULL,
    charged         bigint NOT NULL CHECK (charged >= 0),
    released        bigint NOT NULL CHECK (released >= 0),
    lapsed          bigint NOT NULL CHECK (lapsed >= 0 AND lapsed <= released),
    absorbed        bigint NOT NULL CHECK (absorbed >= 0),
    available_after bigint NOT NULL,
    settled_at      timestamptz NOT NULL,
    CHECK (charged + absorbed = price),
    CHECK (charged + released = held)
);
"""

WALLET_ACCOUNTS = ("available", "held", "debt")
HOUSE_ACCOUNTS = (
    "cash_clearing",
    "promo_issued",
    "quota_issued",
    "revenue",
    "refunds",
    "breakage",
    "overrun_absorbed",
    "goodwill",
)

APPEND_ONLY = (
    "hold_grant", "journal", "transfer", "rate_card_version", "usage_record", "charge",
)  # fmt: skip
NEVER_DELETED = ("wallet", "token_grant", "hold")

GUARDS = """
CREATE FUNCTION billing.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'billing.% refuses %: book a correction instead', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER closed_stays_closed BEFORE UPDATE ON billing.hold FOR EACH ROW
    WHEN (OLD.state <> 'open' OR OLD.amount <> NEW.amount OR OLD.job <> NEW.job)
    EXECUTE FUNCTION billing.refuse_change();
"""

# Takes what has expired out of a wallet whose row the caller has locked.
SHED_EXPIRED = """
CREATE FUNCTION billing.shed_expired(p_wallet bigint, p_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    old         record;
    v_journal   bigint;
    v_available bigint;
BEGIN
    FOR old IN SELECT g.id, g.remaining FROM billing.token_grant g
                WHERE g.wallet = p_wallet AND g.open AND g.expires_at <= p_at ORDER BY g.id
    LOOP
        UPDATE billing.token_grant SET remaining = 0, expired = expired + old.remaining
         WHERE id = old.id;
        UPDATE billing.wallet
           SET available = available - old.remaining, version = version + 1
         WHERE id = p_wallet RETURNING available INTO v_available;
        INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref, occurred_at,
                                     actor, available_after)
        VALUES (p_wallet, 'expire:' || old.id, old.remaining::text, 'expire', old.id::text, p_at,
                'expiry', v_available)
        RETURNING id INTO v_journal;
        INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
        VALUES (v_journal, 1, p_wallet, 'available', 'breakage', old.remaining, old.id);
    END LOOP;
END $$;
"""

# Everything of a hold in one call. Locks the wallet first: the statements after the lock see what
# the last holder of it committed. Sequential scans are off because a plan made while the tables
# were small stays with the connection while they grow.
# Outcomes: placed, replayed, mismatch, insufficient, no_wallet.
PLACE_HOLD = """
CREATE FUNCTION billing.place_hold(
    p_tenant text, p_hold text, p_job text, p_amount bigint, p_expires_at timestamptz,
    p_now timestamptz DEFAULT NULL,
    OUT outcome text, OUT available bigint
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_wallet record;
    v_hold   record;
    v_at     timestamptz;
    v_drawn  bigint;
BEGIN
    SELECT w.id, w.available INTO v_wallet
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
        INSERT INTO billing.hold (id, wallet, job, amount, placed_at, expires_at)
        VALUES (p_hold, v_wallet.id, p_job, p_amount, v_at, p_expires_at)
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

# Capture up to the hold in draw order, give the rest back to the grants it came from; what came
# from a grant that has expired meanwhile is breakage. Outcomes: settled, closed, no_hold.
SETTLE_HOLD = """
CREATE FUNCTION billing.settle_hold(
    p_job text, p_price bigint, p_now timestamptz DEFAULT NULL,
    OUT outcome text, OUT hold text, OUT wallet bigint, OUT held bigint, OUT charged bigint,
    OUT released bigint, OUT lapsed bigint, OUT absorbed bigint, OUT available_after bigint,
    OUT settled_at timestamptz
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_wallet record;
    v_hold   record;
    v_at     timestamptz;
    v_taken  bigint;
BEGIN
    SELECT w.id, w.available INTO v_wallet FROM billing.wallet w
     WHERE w.id = (SELECT h.wallet FROM billing.hold h WHERE h.job = p_job) FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_hold';
        RETURN;
    END IF;
    SELECT h.id, h.amount, h.state INTO v_hold FROM billing.hold h WHERE h.job = p_job;
    IF v_hold.state <> 'open' THEN
        outcome := 'closed';
        RETURN;
    END IF;
    v_at := coalesce(p_now, clock_timestamp());
    IF EXISTS (SELECT FROM billing.token_grant g
                WHERE g.wallet = v_wallet.id AND g.open AND g.expires_at <= v_at) THEN
        PERFORM billing.shed_expired(v_wallet.id, v_at);
        SELECT w.id, w.available INTO v_wallet FROM billing.wallet w WHERE w.id = v_wallet.id;
    END IF;
    v_taken := least(p_price, v_hold.amount);

    WITH pinned AS (
        SELECT p.token_grant, p.amount, coalesce(g.expires_at <= v_at, false) AS late,
               greatest(0, least(p.amount, v_taken
                   - (sum(p.amount) OVER (ORDER BY p.seq) - p.amount)))::bigint AS captured
          FROM billing.hold_grant p JOIN billing.token_grant g ON g.id = p.token_grant
         WHERE p.hold = v_hold.id
    ), split AS (
        SELECT p.token_grant, p.amount, p.captured,
               CASE WHEN p.late THEN 0 ELSE p.amount - p.captured END AS returned,
               CASE WHEN p.late THEN p.amount - p.captured ELSE 0 END AS expired
          FROM pinned p
    ), given_back AS (
        UPDATE billing.token_grant g
           SET held = g.held - s.amount, spent = g.spent + s.captured,
               remaining = g.remaining + s.returned, expired = g.expired + s.expired
          FROM split s WHERE g.id = s.token_grant
    ), total AS (
        SELECT coalesce(sum(s.expired), 0)::bigint AS lapsed,
               v_wallet.available + coalesce(sum(s.returned), 0)::bigint AS available
          FROM split s
    ), closed AS (
        UPDATE billing.hold h
           SET captured = v_taken, released = v_hold.amount - v_taken, closed_at = v_at,
               state = CASE WHEN v_taken > 0 THEN 'captured' ELSE 'released' END
         WHERE h.id = v_hold.id
    ), counted AS (
        UPDATE billing.wallet w
           SET available = t.available, held = w.held - v_hold.amount, version = w.version + 1
          FROM total t WHERE w.id = v_wallet.id
    ), booked AS (
        INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref, occurred_at,
                                     actor, available_after)
        SELECT v_wallet.id, 'settle:' || p_job, p_price::text, 'settle', p_job, v_at,
               'settlement', t.available
          FROM total t
        RETURNING id
    ), line AS (
        SELECT s.token_grant, l.debit, l.credit, l.amount
          FROM split s, LATERAL (VALUES ('held', 'revenue', s.captured),
                                        ('held', 'available', s.returned),
                                        ('held', 'breakage', s.expired)) l (debit, credit, amount)
         WHERE l.amount > 0
        UNION ALL
        SELECT NULL, 'overrun_absorbed', 'revenue', p_price - v_taken WHERE p_price > v_taken
    ), moved AS (
        INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
        SELECT b.id, row_number() OVER (), v_wallet.id, l.debit, l.credit, l.amount, l.token_grant
          FROM booked b, line l
    )
    SELECT t.lapsed, t.available INTO lapsed, available_after FROM total t;
    outcome := 'settled';
    hold := v_hold.id;
    wallet := v_wallet.id;
    held := v_hold.amount;
    charged := v_taken;
    released := v_hold.amount - v_taken;
    absorbed := p_price - v_taken;
    settled_at := v_at;
END $$;
"""


def upgrade() -> None:
    accounts = ", ".join(f"'{name}'" for name in (*WALLET_ACCOUNTS, *HOUSE_ACCOUNTS))
    op.execute("CREATE SCHEMA billing")
    op.execute(TABLES.replace("ACCOUNTS", accounts))
    op.execute(GUARDS)
    for table in APPEND_ONLY:
        guard(table, "UPDATE OR DELETE OR TRUNCATE")
    for table in NEVER_DELETED:
        guard(table, "DELETE OR TRUNCATE")
    for function in (SHED_EXPIRED, PLACE_HOLD, SETTLE_HOLD):
        op.execute(function)


def guard(table: str, operations: str) -> None:
    op.execute(
        f"CREATE TRIGGER append_only BEFORE {operations} ON billing.{table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()"
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA billing CASCADE")
