"""Batches that were priced and may be started later."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ESTIMATES = """
CREATE TABLE estimate (
    id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    api_key_id varchar NOT NULL,
    items integer NOT NULL,
    tokens bigint NOT NULL,
    recharge_id varchar,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT pk_estimate PRIMARY KEY (id),
    CONSTRAINT fk_estimate_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id),
    CONSTRAINT ck_estimate_size CHECK (tokens >= 0 AND items > 0)
);
CREATE INDEX ix_estimate_tenant_id_id ON estimate (tenant_id, id);
CREATE INDEX ix_estimate_starting ON estimate (started_at)
    WHERE started_at IS NOT NULL AND finished_at IS NULL;
CREATE TABLE estimate_item (
    estimate_id varchar NOT NULL,
    position integer NOT NULL,
    engine varchar NOT NULL,
    model varchar NOT NULL,
    tokens bigint NOT NULL,
    request bytea NOT NULL,
    job_id varchar,
    error_code varchar,
    error_detail varchar,
    CONSTRAINT pk_estimate_item PRIMARY KEY (estimate_id, position),
    CONSTRAINT fk_estimate_item_estimate_id_estimate
        FOREIGN KEY (estimate_id) REFERENCES estimate (id),
    CONSTRAINT ck_estimate_item_one_end CHECK (job_id IS NULL OR error_code IS NULL)
);
CREATE INDEX ix_estimate_item_waiting ON estimate_item (estimate_id, position)
    WHERE job_id IS NULL AND error_code IS NULL;
"""


def upgrade() -> None:
    op.execute(ESTIMATES)


def downgrade() -> None:
    op.drop_table("estimate_item")
    op.drop_table("estimate")
