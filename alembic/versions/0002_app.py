"""The tables of tenants, files, jobs and webhooks, and the guard of the job's life."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TENANTS = """
CREATE TABLE tenant (
    id varchar NOT NULL,
    name varchar NOT NULL,
    tenant_group varchar NOT NULL,
    zone varchar NOT NULL,
    mode varchar NOT NULL,
    consent_mode varchar NOT NULL,
    weight integer NOT NULL,
    max_in_flight integer NOT NULL,
    webhook_secret bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_tenant PRIMARY KEY (id),
    CONSTRAINT uq_tenant_name UNIQUE (name),
    CONSTRAINT ck_tenant_consent_mode CHECK (consent_mode IN ('request','contract')),
    CONSTRAINT ck_tenant_weight CHECK (weight > 0)
);
CREATE TABLE project (
    id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    name varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_project PRIMARY KEY (id),
    CONSTRAINT fk_project_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id)
);
CREATE UNIQUE INDEX uq_project_tenant_id_name ON project (tenant_id, name);
CREATE TABLE api_key (
    id varchar NOT NULL,
    tenant_id varchar,
    project_id varchar,
    role varchar NOT NULL,
    name varchar NOT NULL,
    public_part varchar NOT NULL,
    secret_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT pk_api_key PRIMARY KEY (id),
    CONSTRAINT uq_api_key_public_part UNIQUE (public_part),
    CONSTRAINT fk_api_key_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id),
    CONSTRAINT fk_api_key_project_id_project FOREIGN KEY (project_id) REFERENCES project (id),
    CONSTRAINT ck_api_key_role CHECK (
        (role = 'admin' AND tenant_id IS NULL) OR (role = 'tenant' AND tenant_id IS NOT NULL)
    )
);
"""

FILES = """
CREATE TABLE file (
    id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    job_id varchar,
    purpose varchar NOT NULL,
    storage_key varchar NOT NULL,
    name varchar NOT NULL,
    media_type varchar NOT NULL,
    kind varchar NOT NULL,
    bytes bigint NOT NULL,
    sha256 varchar NOT NULL,
    width integer,
    height integer,
    duration_s double precision,
    frames integer,
    fps double precision,
    has_audio boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_file PRIMARY KEY (id),
    CONSTRAINT uq_file_storage_key UNIQUE (storage_key),
    CONSTRAINT fk_file_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id)
);
CREATE INDEX ix_file_expires_at ON file (expires_at);
CREATE INDEX ix_file_tenant_id_id ON file (tenant_id, id);
CREATE INDEX ix_file_job_id ON file (job_id) WHERE job_id IS NOT NULL;
"""

JOBS = """
CREATE TABLE job (
    id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    project_id varchar,
    project varchar,
    api_key_id varchar NOT NULL,
    engine varchar NOT NULL,
    model varchar NOT NULL,
    params jsonb NOT NULL,
    inputs jsonb NOT NULL,
    priority varchar NOT NULL,
    status varchar NOT NULL,
    end_user varchar,
    metadata jsonb NOT NULL,
    webhook jsonb,
    consent boolean NOT NULL,
    request_id varchar,
    quote jsonb NOT NULL,
    hold_id varchar NOT NULL,
    estimated_ms integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    start_deadline_at timestamptz,
    max_runtime_s integer,
    dispatched_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    settled_at timestamptz,
    attempt integer NOT NULL,
    lease_owner varchar,
    lease_expires_at timestamptz,
    cancel_requested_at timestamptz,
    progress_done integer NOT NULL,
    progress_total integer NOT NULL,
    progress_unit varchar NOT NULL,
    progress_fps double precision,
    output jsonb,
    error jsonb,
    usage jsonb,
    event_sequence integer NOT NULL,
    CONSTRAINT pk_job PRIMARY KEY (id),
    CONSTRAINT fk_job_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id),
    CONSTRAINT ck_job_status CHECK (
        status IN ('queued','starting','processing','finalizing',
                   'succeeded','failed','canceled','expired')
    ),
    CONSTRAINT ck_job_priority CHECK (priority IN ('interactive','normal','bulk','nightly')),
    CONSTRAINT ck_job_lease_iff_running CHECK (
        (status IN ('starting','processing','finalizing')) = (lease_expires_at IS NOT NULL)
    )
);
CREATE INDEX ix_job_tenant_id_id ON job (tenant_id, id);
CREATE INDEX ix_job_queued ON job (priority, id) WHERE status = 'queued';
CREATE INDEX ix_job_waiting ON job (priority, tenant_id, engine, id)
    WHERE status = 'queued' AND dispatched_at IS NULL;
CREATE INDEX ix_job_published ON job (engine, dispatched_at)
    WHERE status = 'queued' AND dispatched_at IS NOT NULL;
CREATE INDEX ix_job_leased ON job (lease_expires_at)
    WHERE status IN ('starting','processing','finalizing');
CREATE INDEX ix_job_start_deadline_at ON job (start_deadline_at)
    WHERE status = 'queued' AND started_at IS NULL AND start_deadline_at IS NOT NULL;
CREATE TABLE attempt (
    job_id varchar NOT NULL,
    number integer NOT NULL,
    worker varchar NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    outcome varchar,
    error jsonb,
    usage_report jsonb,
    CONSTRAINT pk_attempt PRIMARY KEY (job_id, number),
    CONSTRAINT fk_attempt_job_id_job FOREIGN KEY (job_id) REFERENCES job (id)
);
CREATE TABLE idempotency_key (
    tenant_id varchar NOT NULL,
    key varchar NOT NULL,
    fingerprint varchar NOT NULL,
    resource_id varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_idempotency_key PRIMARY KEY (tenant_id, key)
);
CREATE TABLE worker_heartbeat (
    worker varchar NOT NULL,
    capacity integer NOT NULL,
    engines jsonb NOT NULL,
    device varchar NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_worker_heartbeat PRIMARY KEY (worker)
);
CREATE TABLE dispatch_clock (
    tenant_id varchar NOT NULL,
    virtual_time double precision NOT NULL,
    CONSTRAINT pk_dispatch_clock PRIMARY KEY (tenant_id)
);
"""

# The same arrows as app/jobs/states.py (a test compares the two): whoever writes past the one
# writer, by hand or by mistake, is stopped here.
JOB_GUARD = """
CREATE FUNCTION job_transition_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (CASE OLD.status
        WHEN 'queued' THEN NEW.status IN ('starting','canceled','expired','failed')
        WHEN 'starting' THEN NEW.status IN ('processing','queued','failed','canceled')
        WHEN 'processing' THEN NEW.status IN ('finalizing','queued','failed','canceled')
        WHEN 'finalizing' THEN NEW.status IN ('succeeded','queued','failed','canceled')
        ELSE false
    END) THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER job_transition BEFORE UPDATE OF status ON job FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION job_transition_guard();
"""

WEBHOOKS = """
CREATE TABLE webhook_endpoint (
    id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    url text NOT NULL,
    events jsonb NOT NULL,
    secret bytea NOT NULL,
    enabled boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_webhook_endpoint PRIMARY KEY (id),
    CONSTRAINT fk_webhook_endpoint_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant (id)
);
CREATE INDEX ix_webhook_endpoint_tenant_id ON webhook_endpoint (tenant_id);
CREATE TABLE webhook_event (
    id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    job_id varchar,
    type varchar NOT NULL,
    sequence integer NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_webhook_event PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uq_webhook_event_job_id_type ON webhook_event (job_id, type);
CREATE TABLE webhook_delivery (
    id varchar NOT NULL,
    event_id varchar NOT NULL,
    tenant_id varchar NOT NULL,
    endpoint_id varchar,
    lane varchar NOT NULL,
    url text NOT NULL,
    secret bytea NOT NULL,
    status varchar NOT NULL,
    attempts integer NOT NULL,
    next_attempt_at timestamptz DEFAULT clock_timestamp(),
    published_at timestamptz,
    claimed_until timestamptz,
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_webhook_delivery PRIMARY KEY (id),
    CONSTRAINT fk_webhook_delivery_event_id_webhook_event
        FOREIGN KEY (event_id) REFERENCES webhook_event (id)
);
CREATE UNIQUE INDEX uq_webhook_delivery_event_id_url ON webhook_delivery (event_id, url);
CREATE INDEX ix_webhook_delivery_due ON webhook_delivery (next_attempt_at)
    WHERE status = 'pending';
CREATE INDEX ix_webhook_delivery_lane ON webhook_delivery (lane, next_attempt_at)
    WHERE status = 'pending';
CREATE INDEX ix_webhook_delivery_tenant_id_id ON webhook_delivery (tenant_id, id);
CREATE TABLE webhook_attempt (
    delivery_id varchar NOT NULL,
    number integer NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status_code integer,
    error varchar,
    duration_ms integer NOT NULL,
    response_excerpt text,
    CONSTRAINT pk_webhook_attempt PRIMARY KEY (delivery_id, number),
    CONSTRAINT fk_webhook_attempt_delivery_id_webhook_delivery
        FOREIGN KEY (delivery_id) REFERENCES webhook_delivery (id)
);
"""

TABLES = (
    "webhook_attempt",
    "webhook_delivery",
    "webhook_event",
    "webhook_endpoint",
    "dispatch_clock",
    "worker_heartbeat",
    "idempotency_key",
    "attempt",
    "job",
    "file",
    "api_key",
    "project",
    "tenant",
)


def upgrade() -> None:
    for statements in (TENANTS, FILES, JOBS, JOB_GUARD, WEBHOOKS):
        op.execute(statements)


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    op.execute("DROP FUNCTION job_transition_guard()")
