"""On what ground a job may use the faces of others."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE job ADD COLUMN consent_basis varchar,
            ADD CONSTRAINT ck_job_consent_basis
                CHECK (consent_basis IN ('request','contract')) NOT VALID;
        ALTER TABLE job VALIDATE CONSTRAINT ck_job_consent_basis;
        CREATE INDEX ix_job_consented ON job (id) WHERE consent_basis IS NOT NULL;
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_job_consented; ALTER TABLE job DROP COLUMN consent_basis")
