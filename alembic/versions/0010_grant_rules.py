"""Rules that grant by the clock, what they granted, and since when a tenant is in its group."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

RULES = """
CREATE TABLE billing.grant_rule (
    id            text PRIMARY KEY CHECK (id !~ ':'),  -- it is a part of the journal's key
    name          text NOT NULL UNIQUE,
    kind          text NOT NULL CHECK (kind IN ('daily', 'monthly', 'reward', 'campaign')),
    amount        bigint NOT NULL CHECK (amount > 0),
    tenant_group  text,
    tenants       jsonb,
    month_day     integer CHECK (month_day BETWEEN 1 AND 31),
    measure       text CHECK (measure IN ('jobs', 'outputs')),
    at_least      integer CHECK (at_least > 0),
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz CHECK (ends_at > starts_at),
    lifetime_days integer CHECK (lifetime_days > 0),
    expires_at    timestamptz CHECK (expires_at > starts_at),
    priority      integer NOT NULL,
    enabled       boolean NOT NULL,
    enabled_at    timestamptz NOT NULL,
    maker         text NOT NULL,
    created_at    timestamptz NOT NULL,
    CHECK ((kind = 'monthly') = (month_day IS NOT NULL)),
    CHECK ((kind = 'reward') = (measure IS NOT NULL)),
    CHECK ((measure IS NULL) = (at_least IS NULL)),
    CHECK (kind = 'campaign' OR (tenants IS NULL AND expires_at IS NULL))
);
-- Only the switch moves.
CREATE TRIGGER only_switched BEFORE UPDATE ON billing.grant_rule FOR EACH ROW
    WHEN ((to_jsonb(OLD) - 'enabled' - 'enabled_at') <> (to_jsonb(NEW) - 'enabled' - 'enabled_at'))
    EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON billing.grant_rule
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();

CREATE TABLE billing.rule_grant (
    rule        text NOT NULL,
    local_date  date NOT NULL,
    wallet      bigint NOT NULL,
    token_grant bigint NOT NULL UNIQUE,
    PRIMARY KEY (rule, local_date, wallet)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.rule_grant
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
"""

TENANTS = """
ALTER TABLE tenant ADD COLUMN group_since timestamptz NOT NULL DEFAULT now();
CREATE INDEX ix_job_succeeded ON job (tenant_id, finished_at) WHERE status = 'succeeded';
"""


def upgrade() -> None:
    op.execute(RULES)
    op.execute(TENANTS)


def downgrade() -> None:
    op.execute("DROP INDEX ix_job_succeeded")
    op.execute("ALTER TABLE tenant DROP COLUMN group_since")
    op.execute("DROP TABLE billing.rule_grant")
    op.execute("DROP TABLE billing.grant_rule")
