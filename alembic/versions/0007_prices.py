"""Prices that change: rules beside the cards, versions that follow each other."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

RULES = """
CREATE TABLE billing.pricing_rule (
    kind           text NOT NULL CHECK (kind IN (
                       'time_of_day', 'gpu_load', 'tenant_override', 'device_factor', 'price_list',
                       'tenant_price_list', 'pack', 'subscription_plan')),
    subject        text NOT NULL,
    version        integer NOT NULL CHECK (version > 0),
    effective_from timestamptz NOT NULL,
    published_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_by   text NOT NULL,
    body           jsonb NOT NULL,
    PRIMARY KEY (kind, subject, version),
    UNIQUE (kind, subject, effective_from)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.pricing_rule
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();

ALTER TABLE billing.rate_card_version
    ADD COLUMN published_by text NOT NULL DEFAULT 'catalogue';
ALTER TABLE billing.usage_record
    ADD COLUMN multipliers jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN device_factor numeric NOT NULL DEFAULT 1 CHECK (device_factor > 0);
-- Rows come in the order of time, so a month or a week is a few blocks.
CREATE INDEX ix_usage_record_recorded_at ON billing.usage_record USING brin (recorded_at);
CREATE INDEX ix_charge_settled_at ON billing.charge USING brin (settled_at);
"""

# A version ends where the next one begins: two overlap unless numbers and times rise together.
SUCCESSION = """
CREATE FUNCTION billing.card_versions_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM billing.rate_card_version v
                WHERE v.card = NEW.card AND v.version <> NEW.version
                  AND (v.version < NEW.version) <> (v.effective_from < NEW.effective_from)) THEN
        RAISE EXCEPTION 'rate card %@% from % overlaps another version',
            NEW.card, NEW.version, NEW.effective_from USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER versions_follow BEFORE INSERT ON billing.rate_card_version
    FOR EACH ROW EXECUTE FUNCTION billing.card_versions_follow();

CREATE FUNCTION billing.rule_versions_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM billing.pricing_rule v
                WHERE v.kind = NEW.kind AND v.subject = NEW.subject AND v.version <> NEW.version
                  AND (v.version < NEW.version) <> (v.effective_from < NEW.effective_from)) THEN
        RAISE EXCEPTION 'pricing rule % of % from % overlaps another version',
            NEW.kind, NEW.subject, NEW.effective_from USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER versions_follow BEFORE INSERT ON billing.pricing_rule
    FOR EACH ROW EXECUTE FUNCTION billing.rule_versions_follow();
"""


def upgrade() -> None:
    op.execute(RULES)
    op.execute(SUCCESSION)


def downgrade() -> None:
    op.execute(
        """
        DROP TRIGGER versions_follow ON billing.rate_card_version;
        DROP FUNCTION billing.card_versions_follow();
        DROP TABLE billing.pricing_rule;
        DROP FUNCTION billing.rule_versions_follow();
        DROP INDEX billing.ix_usage_record_recorded_at;
        DROP INDEX billing.ix_charge_settled_at;
        ALTER TABLE billing.rate_card_version DROP COLUMN published_by;
        ALTER TABLE billing.usage_record DROP COLUMN multipliers, DROP COLUMN device_factor;
        """
    )
