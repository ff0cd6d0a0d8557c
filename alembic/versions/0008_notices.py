"""What owners were told about their caps and balances, so that nobody is told twice."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A notice belongs to a limit: when it is raised, crossing it again is news.
TABLES = """
CREATE TABLE billing.budget_notice (
    budget       bigint NOT NULL REFERENCES billing.budget,
    subject      text NOT NULL,
    window_start date NOT NULL,
    amount       bigint NOT NULL,
    percent      integer NOT NULL CHECK (percent BETWEEN 1 AND 100),
    noted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (budget, subject, window_start, amount, percent)
);
CREATE TABLE billing.balance_watch (
    wallet    bigint PRIMARY KEY REFERENCES billing.wallet,
    threshold bigint NOT NULL CHECK (threshold > 0),
    low_since timestamptz
);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE billing.budget_notice, billing.balance_watch")
