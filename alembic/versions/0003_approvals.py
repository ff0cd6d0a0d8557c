"""Decisions of two people, and the person behind each admin key."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# An admin key so far belongs to whoever it is called after; keys without a name to one person.
OPERATORS = """
ALTER TABLE api_key ADD COLUMN operator varchar;
UPDATE api_key SET operator = coalesce(nullif(lower(btrim(name)), ''), 'unnamed')
 WHERE role = 'admin';
ALTER TABLE api_key ADD CONSTRAINT ck_api_key_operator
    CHECK ((role = 'admin') = (operator IS NOT NULL));
"""

APPROVALS = """
CREATE TABLE billing.approval (
    id         text PRIMARY KEY,
    kind       text NOT NULL,
    subject    text NOT NULL,
    payload    jsonb NOT NULL,
    maker      text NOT NULL,
    state      text NOT NULL DEFAULT 'pending'
               CHECK (state IN ('pending', 'approved', 'rejected', 'expired')),
    checker    text,
    reason     text,
    result     jsonb,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    decided_at timestamptz,
    CHECK (state <> 'approved' OR checker <> maker),
    CHECK ((state IN ('approved', 'rejected')) = (checker IS NOT NULL)),
    CHECK ((state = 'pending') = (decided_at IS NULL))
);
CREATE INDEX ix_approval_pending ON billing.approval (expires_at) WHERE state = 'pending';

-- What was asked never changes, and what was decided stays.
CREATE TRIGGER decided_once BEFORE UPDATE ON billing.approval FOR EACH ROW
    WHEN (OLD.state <> 'pending'
          OR (OLD.id, OLD.kind, OLD.subject, OLD.payload, OLD.maker, OLD.created_at, OLD.expires_at)
             <> (NEW.id, NEW.kind, NEW.subject, NEW.payload, NEW.maker, NEW.created_at,
                 NEW.expires_at))
    EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON billing.approval
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
"""


def upgrade() -> None:
    op.execute(OPERATORS)
    op.execute(APPROVALS)


def downgrade() -> None:
    op.execute("DROP TABLE billing.approval")
    op.execute("ALTER TABLE api_key DROP COLUMN operator")
