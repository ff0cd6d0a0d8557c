"""Tenants' own weights, and which of them a job runs on."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE tenant_model (
            id varchar NOT NULL,
            tenant_id varchar NOT NULL,
            engine varchar NOT NULL,
            name varchar NOT NULL,
            version integer NOT NULL,
            base varchar NOT NULL,
            sha256 varchar NOT NULL,
            bytes bigint NOT NULL,
            storage_key varchar NOT NULL,
            licence varchar NOT NULL,
            inputs jsonb NOT NULL,
            confined_by jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            deleted_at timestamptz,
            CONSTRAINT pk_tenant_model PRIMARY KEY (id),
            CONSTRAINT fk_tenant_model_tenant_id_tenant
                FOREIGN KEY (tenant_id) REFERENCES tenant (id),
            CONSTRAINT uq_tenant_model_tenant_id_name_version UNIQUE (tenant_id, name, version)
        );
        ALTER TABLE job ADD COLUMN tenant_model_id varchar;
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE job DROP COLUMN tenant_model_id; DROP TABLE tenant_model;")
