"""Which job a tenant's repeated question can be answered from."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE job ADD COLUMN use_cache boolean NOT NULL DEFAULT true;
        CREATE TABLE result_cache (
            tenant_id varchar NOT NULL,
            key varchar NOT NULL,
            job_id varchar NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT pk_result_cache PRIMARY KEY (tenant_id, key),
            CONSTRAINT fk_result_cache_tenant_id_tenant
                FOREIGN KEY (tenant_id) REFERENCES tenant (id)
        );
        CREATE INDEX ix_result_cache_created_at ON result_cache (created_at);
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE result_cache; ALTER TABLE job DROP COLUMN use_cache;")
