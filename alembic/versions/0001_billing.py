"""The schema of money."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA billing")


def downgrade() -> None:
    op.execute("DROP SCHEMA billing CASCADE")
