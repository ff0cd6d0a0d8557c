"""What reports read: one narrow line per charge, in the order of time of each wallet.

A charge and its usage record are wide and apart; a month of a million of them took seconds to
join. The line is written with the charge by a trigger on the statement, so a fold of many charges
writes its lines at once. ``xid`` tells copies what has surely been committed before what.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

LINES = """
CREATE TABLE billing.usage_line (
    xid        bigint NOT NULL DEFAULT CAST(CAST(pg_current_xact_id() AS text) AS bigint),
    job        text NOT NULL,
    wallet     bigint NOT NULL,
    settled_at timestamptz NOT NULL,
    project    text,
    api_key    text,
    end_user   text,
    engine     text NOT NULL,
    model      text NOT NULL,
    device     text NOT NULL,
    outcome    text NOT NULL,
    cached     boolean NOT NULL,
    charged    bigint NOT NULL CHECK (charged >= 0),
    gpu_us     bigint NOT NULL CHECK (gpu_us >= 0),
    PRIMARY KEY (xid, job)
);
CREATE INDEX ix_usage_line_wallet ON billing.usage_line (wallet, settled_at);
CREATE INDEX ix_usage_line_settled_at ON billing.usage_line USING brin (settled_at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.usage_line
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
"""

FILL = """
INSERT INTO billing.usage_line (job, wallet, settled_at, project, api_key, end_user, engine, model,
                                device, outcome, cached, charged, gpu_us)
SELECT c.job, c.wallet, c.settled_at, u.project, u.api_key, u.end_user, u.engine, u.model,
       u.device, c.outcome, c.cached, c.charged, u.gpu_us
  FROM {charges} c JOIN billing.usage_record u ON u.job = c.job
"""

FOLLOW = f"""
CREATE FUNCTION billing.note_usage() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    {FILL.format(charges="booked")};
    RETURN NULL;
END $$;
CREATE TRIGGER usage_follows AFTER INSERT ON billing.charge
    REFERENCING NEW TABLE AS booked FOR EACH STATEMENT EXECUTE FUNCTION billing.note_usage();
"""


# A hold that nobody ended was given back to its caps; what it is charged late is used after all.
LATE = """
CREATE FUNCTION billing.charge_budgets_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing.budget_usage u SET used = u.used + NEW.charged
      FROM billing.hold_budget p
     WHERE p.hold = NEW.hold AND u.budget = p.budget AND u.subject = p.subject
       AND u.window_start = p.window_start;
    RETURN NULL;
END $$;
CREATE TRIGGER budgets_follow AFTER INSERT ON billing.charge FOR EACH ROW
    WHEN (NEW.status = 'late') EXECUTE FUNCTION billing.charge_budgets_late();
"""


def upgrade() -> None:
    op.execute(LINES)
    op.execute(LATE)
    op.execute(FILL.format(charges="billing.charge"))
    op.execute(FOLLOW)


def downgrade() -> None:
    op.execute("DROP TRIGGER budgets_follow ON billing.charge")
    op.execute("DROP FUNCTION billing.charge_budgets_late()")
    op.execute("DROP TRIGGER usage_follows ON billing.charge")
    op.execute("DROP FUNCTION billing.note_usage()")
    op.execute("DROP TABLE billing.usage_line")
