"""How far usage lines have been copied elsewhere."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# (xid, job) is the last line that surely arrived; sent_* is the end of a batch that may have.
TABLE = """
CREATE TABLE billing.usage_copy (
    sink     text PRIMARY KEY,
    xid      bigint NOT NULL DEFAULT 0,
    job      text NOT NULL DEFAULT '',
    sent_xid bigint,
    sent_job text,
    lines    bigint NOT NULL DEFAULT 0,
    moved_at timestamptz,
    CHECK ((sent_xid IS NULL) = (sent_job IS NULL))
);
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE billing.usage_copy")
