"""Rules that say what is odd, and what they found."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE anomaly_rule (
    id varchar NOT NULL,
    kind varchar NOT NULL,
    tenant_id varchar,
    factor double precision,
    min_tokens bigint,
    min_hours integer,
    max_times integer,
    minutes integer,
    freezes boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    CONSTRAINT pk_anomaly_rule PRIMARY KEY (id),
    CONSTRAINT fk_anomaly_rule_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id),
    CONSTRAINT ck_anomaly_rule_terms CHECK (
        CASE kind WHEN 'spike' THEN factor > 1 AND min_tokens > 0 AND min_hours > 0
             AND num_nonnulls(factor, min_tokens, min_hours) = 3
             AND num_nonnulls(max_times, minutes) = 0
        WHEN 'repeat' THEN max_times > 0 AND minutes > 0
             AND num_nonnulls(max_times, minutes) = 2
             AND num_nonnulls(factor, min_tokens, min_hours) = 0 ELSE false END
    )
);
CREATE TABLE anomaly_finding (
    id varchar NOT NULL,
    rule_id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    subject_kind varchar NOT NULL,
    subject varchar NOT NULL,
    observed double precision NOT NULL,
    expected double precision NOT NULL,
    since timestamptz NOT NULL,
    froze boolean NOT NULL,
    found_at timestamptz NOT NULL,
    CONSTRAINT pk_anomaly_finding PRIMARY KEY (id),
    CONSTRAINT fk_anomaly_finding_rule_id_anomaly_rule
        FOREIGN KEY (rule_id) REFERENCES anomaly_rule (id),
    CONSTRAINT fk_anomaly_finding_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id)
);
CREATE UNIQUE INDEX uq_anomaly_finding_place
    ON anomaly_finding (rule_id, tenant_id, subject_kind, subject, since);
CREATE INDEX ix_anomaly_finding_tenant_id_id ON anomaly_finding (tenant_id, id);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE anomaly_finding, anomaly_rule")
