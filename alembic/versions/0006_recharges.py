"""Bulk recharges and their log."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RECHARGES = """
CREATE TABLE billing.recharge (
    id             text PRIMARY KEY,
    source         text NOT NULL CHECK (source IN ('json', 'csv', 'estimate')),
    mode           text NOT NULL CHECK (mode IN ('atomic', 'partial')),
    operator       text NOT NULL,
    reason         text NOT NULL,
    maker          text NOT NULL,
    content_sha256 text NOT NULL,
    rows           integer NOT NULL CHECK (rows > 0),
    refused        integer NOT NULL CHECK (refused BETWEEN 0 AND rows),
    tokens         bigint NOT NULL CHECK (tokens >= 0),
    approval       text REFERENCES billing.approval,
    created_at     timestamptz NOT NULL,
    booked_at      timestamptz CHECK (booked_at >= created_at),
    booked         integer CHECK (booked BETWEEN 0 AND rows - refused),
    CHECK ((booked IS NULL) = (booked_at IS NULL))
);
CREATE INDEX ix_recharge_maker ON billing.recharge (maker, created_at);
CREATE INDEX ix_recharge_file ON billing.recharge (content_sha256) WHERE source = 'csv';

CREATE TABLE billing.recharge_row (
    recharge       text NOT NULL,
    row            integer NOT NULL CHECK (row > 0),
    named          text NOT NULL,
    tenant         text,
    amount         bigint,
    expires_at     timestamptz,
    error          text,
    detail         text,
    PRIMARY KEY (recharge, row),
    CHECK (error IS NOT NULL OR (tenant IS NOT NULL AND amount > 0))
);

-- A recharge is booked once; what was asked never changes.
CREATE TRIGGER booked_once BEFORE UPDATE ON billing.recharge FOR EACH ROW
    WHEN (OLD.booked_at IS NOT NULL
          OR (OLD.id, OLD.source, OLD.mode, OLD.operator, OLD.reason, OLD.maker,
              OLD.content_sha256, OLD.rows, OLD.refused, OLD.tokens, OLD.created_at)
             <> (NEW.id, NEW.source, NEW.mode, NEW.operator, NEW.reason, NEW.maker,
                 NEW.content_sha256, NEW.rows, NEW.refused, NEW.tokens, NEW.created_at)
          OR OLD.approval IS DISTINCT FROM NEW.approval)
    EXECUTE FUNCTION billing.refuse_change();
"""

# Grants are made by thousands now. The check cost a third of that, and holds without it: the
# wallet's id comes from a row that is locked, and wallets are never deleted.
NO_FOREIGN_KEY = "ALTER TABLE billing.token_grant DROP CONSTRAINT token_grant_wallet_fkey"
FOREIGN_KEY = (
    "ALTER TABLE billing.token_grant ADD CONSTRAINT token_grant_wallet_fkey"
    " FOREIGN KEY (wallet) REFERENCES billing.wallet"
)
APPEND_ONLY = {
    "recharge_row": "UPDATE OR DELETE OR TRUNCATE",
    "recharge": "DELETE OR TRUNCATE",
}


def upgrade() -> None:
    op.execute(RECHARGES)
    for table, refused in APPEND_ONLY.items():
        op.execute(
            f"CREATE TRIGGER append_only BEFORE {refused} ON billing.{table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()"
        )
    op.execute(NO_FOREIGN_KEY)


def downgrade() -> None:
    op.execute(FOREIGN_KEY)
    for table in APPEND_ONLY:
        op.execute(f"DROP TABLE billing.{table}")
