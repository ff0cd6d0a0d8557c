"""Uploads that arrive in pieces."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE upload (
            id varchar NOT NULL,
            tenant_id varchar NOT NULL,
            way varchar NOT NULL,
            status varchar NOT NULL,
            name varchar NOT NULL,
            labels varchar NOT NULL,
            total bigint NOT NULL,
            received bigint NOT NULL,
            sha256 varchar,
            storage_key varchar NOT NULL,
            growing jsonb NOT NULL,
            writer bigint NOT NULL,
            file_id varchar,
            error jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            CONSTRAINT pk_upload PRIMARY KEY (id),
            CONSTRAINT fk_upload_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id),
            CONSTRAINT uq_upload_storage_key UNIQUE (storage_key),
            CONSTRAINT ck_upload_way CHECK (way IN ('tus', 'direct')),
            CONSTRAINT ck_upload_status CHECK (status IN ('receiving', 'finished', 'refused')),
            CONSTRAINT ck_upload_received CHECK (received BETWEEN 0 AND total),
            CONSTRAINT ck_upload_file_iff_finished
                CHECK ((status = 'finished') = (file_id IS NOT NULL)),
            CONSTRAINT ck_upload_error_iff_refused
                CHECK ((status = 'refused') = (error IS NOT NULL))
        );
        CREATE INDEX ix_upload_expires_at ON upload (expires_at);
        CREATE INDEX ix_upload_tenant_id ON upload (tenant_id);
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE upload;")
