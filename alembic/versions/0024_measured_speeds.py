"""Measured speeds, and what estimates and batches were told of their time."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

SPEEDS = """
CREATE TABLE measured_speed (
    engine varchar NOT NULL,
    model varchar NOT NULL,
    media varchar NOT NULL,
    variant varchar NOT NULL,
    size_class integer NOT NULL,
    length_class integer NOT NULL,
    device varchar NOT NULL,
    samples integer NOT NULL,
    p50_ms double precision NOT NULL,
    p90_ms double precision NOT NULL,
    per_estimated double precision NOT NULL,
    charged_share double precision NOT NULL,
    measured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_measured_speed
        PRIMARY KEY (engine, model, media, variant, size_class, length_class, device)
);
ALTER TABLE batch ADD COLUMN forecast jsonb;
ALTER TABLE estimate ADD COLUMN forecast jsonb;
"""


def upgrade() -> None:
    op.execute(SPEEDS)


def downgrade() -> None:
    op.drop_column("estimate", "forecast")
    op.drop_column("batch", "forecast")
    op.drop_table("measured_speed")
