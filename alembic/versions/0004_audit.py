"""The audit log: every admin action and every money journal in one hash chain.

``h(n) = SHA-256(h(n-1) || canonical row n)``. An action is chained by a constraint trigger at the
commit of its transaction, so the head of the chain is the last lock taken and nobody can deadlock
on it. Journals must not wait for one another: a trigger notes each of them in ``audit_due``, in
the transaction that books it, and ``seal_journals`` takes the notes off afterwards. A journal that
commits late brings its note late; no id is ever skipped.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE billing.audit_action (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text NOT NULL CHECK (actor <> ''),
    action  text NOT NULL CHECK (action <> ''),
    subject text NOT NULL,
    detail  jsonb NOT NULL
);

-- Each row is either an action or a journal of a wallet.
CREATE TABLE billing.audit_entry (
    seq       bigint PRIMARY KEY CHECK (seq > 0),
    action    bigint UNIQUE,
    wallet    bigint,
    journal   bigint UNIQUE,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    digest    bytea NOT NULL CHECK (length(digest) = 32),
    CHECK (num_nonnulls(action, journal) = 1 AND num_nonnulls(wallet, journal) <> 1)
);

-- The last row of the chain; whoever adds a row locks it first.
CREATE TABLE billing.audit_head (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq    bigint NOT NULL,
    digest bytea NOT NULL
) WITH (fillfactor = 50);
INSERT INTO billing.audit_head (seq, digest) VALUES (0, sha256('pixelmeter audit'));

-- Journals that are booked and not in the chain yet. No index: it is read whole and emptied.
CREATE TABLE billing.audit_due (
    wallet  bigint NOT NULL,
    journal bigint NOT NULL
);
"""

# The canonical rows. Times are microseconds since 1970, so no time zone changes a digest.
CANONICAL = """
CREATE FUNCTION billing.microseconds(p_at timestamptz) RETURNS bigint LANGUAGE sql STABLE
RETURN (extract(epoch FROM p_at) * 1000000)::bigint;

CREATE FUNCTION billing.audit_text_of_action(p_seq bigint, p_action bigint)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array('action', p_seq, a.id, billing.microseconds(a.at), a.actor, a.action,
                             a.subject, a.detail)::text
      FROM billing.audit_action a WHERE a.id = p_action
$$;

CREATE FUNCTION billing.audit_text_of_journal(p_seq bigint, p_wallet bigint, p_journal bigint)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(
               'journal', p_seq, j.id, j.wallet, j.idem_key, j.fingerprint, j.kind, j.ref,
               billing.microseconds(j.occurred_at), billing.microseconds(j.booked_at), j.actor,
               j.approval, j.reverses, j.available_after,
               (SELECT jsonb_agg(jsonb_build_array(t.seq, t.wallet, t.debit, t.credit, t.amount,
                                                   t.token_grant) ORDER BY t.seq)
                  FROM billing.transfer t WHERE t.journal = j.id))::text
      FROM billing.journal j WHERE j.wallet = p_wallet AND j.id = p_journal
$$;
"""

CHAIN = """
CREATE FUNCTION billing.note_journals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing.audit_due (wallet, journal) SELECT b.wallet, b.id FROM booked b;
    RETURN NULL;
END $$;
CREATE TRIGGER audited AFTER INSERT ON billing.journal
    REFERENCING NEW TABLE AS booked
    FOR EACH STATEMENT EXECUTE FUNCTION billing.note_journals();

CREATE FUNCTION billing.chain_action() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    head record;
BEGIN
    SELECT h.seq + 1 AS seq, h.digest INTO head FROM billing.audit_head h FOR UPDATE;
    head.digest := sha256(head.digest || convert_to(
        billing.audit_text_of_action(head.seq, NEW.id), 'UTF8'));
    INSERT INTO billing.audit_entry (seq, action, digest) VALUES (head.seq, NEW.id, head.digest);
    UPDATE billing.audit_head SET seq = head.seq, digest = head.digest;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER chained AFTER INSERT ON billing.audit_action
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.chain_action();

CREATE FUNCTION billing.seal_journals(p_limit integer)
RETURNS integer LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    head   record;
    due    record;
    sealed integer := 0;
BEGIN
    SELECT h.seq, h.digest INTO head FROM billing.audit_head h FOR UPDATE;
    FOR due IN
        WITH taken AS (
            DELETE FROM billing.audit_due
             WHERE ctid = ANY (ARRAY(SELECT d.ctid FROM billing.audit_due d LIMIT p_limit))
            RETURNING wallet, journal
        )
        SELECT t.wallet, t.journal FROM taken t ORDER BY t.journal
    LOOP
        head.seq := head.seq + 1;
        head.digest := sha256(head.digest || convert_to(
            billing.audit_text_of_journal(head.seq, due.wallet, due.journal), 'UTF8'));
        INSERT INTO billing.audit_entry (seq, wallet, journal, digest)
        VALUES (head.seq, due.wallet, due.journal, head.digest);
        sealed := sealed + 1;
    END LOOP;
    UPDATE billing.audit_head SET seq = head.seq, digest = head.digest WHERE sealed > 0;
    RETURN sealed;
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.audit_action
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON billing.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();

-- What was booked before there was a chain comes into it first.
INSERT INTO billing.audit_due (wallet, journal)
SELECT j.wallet, j.id FROM billing.journal j ORDER BY j.id;
"""


def upgrade() -> None:
    for statements in (TABLES, CANONICAL, CHAIN):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP TRIGGER audited ON billing.journal")
    for table in ("audit_due", "audit_head", "audit_entry", "audit_action"):
        op.execute(f"DROP TABLE billing.{table}")
    for function in (
        "seal_journals(integer)",
        "chain_action()",
        "note_journals()",
        "audit_text_of_journal(bigint, bigint, bigint)",
        "audit_text_of_action(bigint, bigint)",
        "microseconds(timestamptz)",
    ):
        op.execute(f"DROP FUNCTION billing.{function}")
