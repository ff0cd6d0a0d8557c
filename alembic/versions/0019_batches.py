"""Batches: many jobs with one price, one ceiling and one callback.

An item keeps what its job will be until the job is made, so that whoever comes after a crash makes
the very same one. ``job.batch_id`` has no index on ``settled_at``: every settlement would pay it.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

BATCHES = """
CREATE TABLE batch (
    id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    api_key_id varchar NOT NULL,
    total integer NOT NULL,
    priced_for integer NOT NULL,
    tokens_quoted bigint NOT NULL,
    webhook jsonb,
    retry_of varchar,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    cancel_requested_at timestamptz,
    finished_at timestamptz,
    counts jsonb,
    tokens bigint,
    manifest jsonb,
    CONSTRAINT pk_batch PRIMARY KEY (id),
    CONSTRAINT fk_batch_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id),
    CONSTRAINT fk_batch_retry_of_batch FOREIGN KEY (retry_of) REFERENCES batch (id),
    CONSTRAINT uq_batch_retry_of UNIQUE (retry_of),
    CONSTRAINT ck_batch_size CHECK (total > 0 AND tokens_quoted >= 0),
    CONSTRAINT ck_batch_told_when_finished CHECK (
        (finished_at IS NULL) = (counts IS NULL) AND (finished_at IS NULL) = (tokens IS NULL))
);
CREATE INDEX ix_batch_tenant_id_id ON batch (tenant_id, id);
CREATE INDEX ix_batch_unfinished ON batch (id) WHERE finished_at IS NULL;
CREATE TABLE batch_item (
    batch_id varchar NOT NULL,
    position integer NOT NULL,
    state varchar NOT NULL,
    engine varchar,
    model varchar,
    tokens bigint,
    job_id varchar,
    priced jsonb,
    error_code varchar,
    error_detail varchar,
    CONSTRAINT pk_batch_item PRIMARY KEY (batch_id, position),
    CONSTRAINT fk_batch_item_batch_id_batch FOREIGN KEY (batch_id) REFERENCES batch (id),
    CONSTRAINT ck_batch_item_state CHECK (
        state IN ('waiting', 'job', 'refused', 'invalid', 'canceled')),
    CONSTRAINT ck_batch_item_job_iff_made CHECK ((state = 'job') = (job_id IS NOT NULL)),
    CONSTRAINT ck_batch_item_priced_until_made CHECK (
        (state IN ('waiting', 'refused')) = (priced IS NOT NULL))
);
CREATE INDEX ix_batch_item_waiting ON batch_item (batch_id, position) WHERE state = 'waiting';
ALTER TABLE job ADD COLUMN batch_id varchar;
CREATE INDEX ix_job_batch_id_id ON job (batch_id, id) WHERE batch_id IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(BATCHES)


def downgrade() -> None:
    op.execute("DROP INDEX ix_job_batch_id_id")
    op.drop_column("job", "batch_id")
    op.drop_table("batch_item")
    op.drop_table("batch")
