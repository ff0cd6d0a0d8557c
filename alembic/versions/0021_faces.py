"""What is kept of faces, and on what ground a face job may run."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE embedding_key (
    tenant_id varchar NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_embedding_key PRIMARY KEY (tenant_id),
    CONSTRAINT fk_embedding_key_tenant_id_tenant
        FOREIGN KEY (tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE face_embedding (
    tenant_id varchar NOT NULL,
    place bytea NOT NULL,
    sealed bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_face_embedding PRIMARY KEY (tenant_id, place),
    CONSTRAINT fk_face_embedding_tenant_id_embedding_key
        FOREIGN KEY (tenant_id) REFERENCES embedding_key (tenant_id) ON DELETE CASCADE
);
CREATE INDEX ix_face_embedding_expires_at ON face_embedding (expires_at);
CREATE TABLE blocked_face (
    id varchar NOT NULL,
    model varchar NOT NULL,
    sealed bytea NOT NULL,
    threshold double precision NOT NULL,
    reason varchar NOT NULL,
    added_by varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_blocked_face PRIMARY KEY (id),
    CONSTRAINT ck_blocked_face_threshold CHECK (threshold > 0 AND threshold <= 1)
);
CREATE INDEX ix_blocked_face_model ON blocked_face (model);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE face_embedding, embedding_key, blocked_face")
