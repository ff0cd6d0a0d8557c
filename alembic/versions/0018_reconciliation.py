"""Reconciliations and what they found."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

RECONCILIATIONS = """
CREATE TABLE billing.reconciliation (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked_by    text NOT NULL,
    day         date UNIQUE,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz CHECK (finished_at >= started_at),
    transfers   bigint,
    findings    bigint,
    CHECK (num_nulls(finished_at, transfers, findings) IN (0, 3))
);

CREATE TABLE billing.finding (
    reconciliation bigint NOT NULL REFERENCES billing.reconciliation,
    seq            integer NOT NULL,
    code           text NOT NULL,
    subject        text NOT NULL,
    detail         text NOT NULL,
    tenant         text,
    PRIMARY KEY (reconciliation, seq)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.finding
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
"""


def upgrade() -> None:
    op.execute(RECONCILIATIONS)


def downgrade() -> None:
    op.execute("DROP TABLE billing.finding, billing.reconciliation")
