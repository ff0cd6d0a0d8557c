"""Let a job have many progress events; one of every other type, as before."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

MANY = """
DROP INDEX uq_webhook_event_job_id_type;
CREATE UNIQUE INDEX uq_webhook_event_job_id_type ON webhook_event (job_id, type)
    WHERE type <> 'job.progress';
CREATE INDEX ix_webhook_event_progress ON webhook_event (job_id) WHERE type = 'job.progress';
"""

ONE = """
DELETE FROM webhook_attempt WHERE delivery_id IN (
    SELECT d.id FROM webhook_delivery d JOIN webhook_event e ON e.id = d.event_id
    WHERE e.type = 'job.progress');
DELETE FROM webhook_delivery WHERE event_id IN (
    SELECT id FROM webhook_event WHERE type = 'job.progress');
DELETE FROM webhook_event WHERE type = 'job.progress';
DROP INDEX ix_webhook_event_progress;
DROP INDEX uq_webhook_event_job_id_type;
CREATE UNIQUE INDEX uq_webhook_event_job_id_type ON webhook_event (job_id, type);
"""


def upgrade() -> None:
    op.execute(MANY)


def downgrade() -> None:
    op.execute(ONE)
