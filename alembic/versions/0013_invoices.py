"""What is bought and what is invoiced: purchases, subscriptions, invoices, tier notices."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Money is yuan with 2 decimals; token amounts are micro-tokens. A tenant is an opaque text here.
TABLES = """
CREATE TABLE billing.subscription (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text NOT NULL,
    plan        text NOT NULL,
    started_on  date NOT NULL,
    canceled_on date CHECK (canceled_on >= started_on),
    actor       text NOT NULL,
    idem_key    text NOT NULL,
    UNIQUE (tenant, idem_key)
);
CREATE INDEX ix_subscription_running ON billing.subscription (id) WHERE canceled_on IS NULL;

CREATE TABLE billing.purchase (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       text NOT NULL,
    idem_key     text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('pack', 'subscription')),
    item         text NOT NULL,
    version      integer NOT NULL,
    subscription bigint REFERENCES billing.subscription,
    period_start date,
    period_end   date,
    tokens       bigint NOT NULL CHECK (tokens >= 0),
    token_price  numeric CHECK (token_price > 0),
    amount       numeric(16, 2) NOT NULL CHECK (amount >= 0),
    token_grant  bigint UNIQUE REFERENCES billing.token_grant,
    actor        text NOT NULL,
    bought_at    timestamptz NOT NULL,
    UNIQUE (tenant, idem_key),
    CHECK ((kind = 'subscription') = (subscription IS NOT NULL)),
    CHECK ((period_start IS NULL) = (period_end IS NULL))
);
CREATE INDEX ix_purchase_tenant ON billing.purchase (tenant, bought_at);

CREATE TABLE billing.invoice (
    number       text PRIMARY KEY,
    year         integer NOT NULL,
    seq          integer NOT NULL CHECK (seq > 0),
    tenant       text NOT NULL,
    month        date NOT NULL CHECK (extract(day FROM month) = 1),
    zone         text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL CHECK (period_end > period_start),
    issued_at    timestamptz NOT NULL,
    total        numeric(16, 2) NOT NULL CHECK (total >= 0),
    body         jsonb NOT NULL,
    UNIQUE (tenant, month),
    UNIQUE (year, seq)
);

CREATE TABLE billing.tier_notice (
    tenant   text NOT NULL,
    month    date NOT NULL,
    band     integer NOT NULL,
    told_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, month, band)
);
"""
APPEND_ONLY = ("purchase", "invoice", "tier_notice")


def upgrade() -> None:
    op.execute(TABLES)
    for table in APPEND_ONLY:
        guard(table, "UPDATE OR DELETE OR TRUNCATE")
    guard("subscription", "DELETE OR TRUNCATE")


def guard(table: str, operations: str) -> None:
    op.execute(
        f"CREATE TRIGGER append_only BEFORE {operations} ON billing.{table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()"
    )


def downgrade() -> None:
    for table in ("tier_notice", "invoice", "purchase", "subscription"):
        op.execute(f"DROP TABLE billing.{table}")
