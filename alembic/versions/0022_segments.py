"""Long videos in segments: their rows and attempts, disk of nodes, measured speeds."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_GUARD = """
CREATE OR REPLACE FUNCTION job_transition_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (CASE OLD.status
        WHEN 'queued' THEN NEW.status IN ('starting','canceled','expired','failed')
        WHEN 'starting' THEN NEW.status IN ('processing','queued','failed','canceled')
        WHEN 'processing' THEN NEW.status IN ('finalizing','queued','failed','canceled')
        WHEN 'finalizing' THEN NEW.status IN ({after_finalizing})
        ELSE false
    END) THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""
_AFTER_FINALIZING = "'succeeded','queued','failed','canceled'"
_RUNNING = "status IN ('starting','processing','finalizing')"


def upgrade() -> None:
    op.execute(
        f"""
        ALTER TABLE tenant ADD COLUMN max_segments integer NOT NULL DEFAULT 64,
            ADD CONSTRAINT ck_tenant_max_segments CHECK (max_segments BETWEEN 1 AND 64);
        ALTER TABLE worker_heartbeat ADD COLUMN disk_bytes bigint NOT NULL DEFAULT 0;

        ALTER TABLE job ADD COLUMN segments_wanted integer,
            ADD COLUMN segments integer,
            ADD COLUMN segments_done integer NOT NULL DEFAULT 0,
            DROP CONSTRAINT ck_job_lease_iff_running,
            ADD CONSTRAINT ck_job_lease_iff_running CHECK (
                (lease_expires_at IS NULL OR {_RUNNING})
                AND (lease_expires_at IS NOT NULL OR segments IS NOT NULL OR NOT ({_RUNNING}))),
            ADD CONSTRAINT ck_job_segments CHECK (segments_done <= coalesce(segments, 0));
        CREATE INDEX ix_job_in_segments ON job (id)
            WHERE segments IS NOT NULL AND {_RUNNING};

        CREATE TABLE segment (
            job_id varchar NOT NULL,
            number integer NOT NULL,
            tenant_id varchar NOT NULL,
            engine varchar NOT NULL,
            priority varchar NOT NULL,
            first_frame integer NOT NULL,
            frames integer NOT NULL,
            start_pts bigint NOT NULL,
            end_pts bigint,
            object_name varchar NOT NULL,
            estimated_ms integer NOT NULL,
            work_bytes bigint NOT NULL,
            status varchar NOT NULL,
            attempt integer NOT NULL DEFAULT 0,
            dispatched_at timestamptz,
            lease_owner varchar,
            lease_expires_at timestamptz,
            progress_done integer NOT NULL DEFAULT 0,
            progress_fps double precision,
            files jsonb,
            data jsonb,
            usage_report jsonb,
            wall_us bigint NOT NULL DEFAULT 0,
            has_objects boolean NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT pk_segment PRIMARY KEY (job_id, number),
            CONSTRAINT fk_segment_job_id_job FOREIGN KEY (job_id) REFERENCES job (id),
            CONSTRAINT ck_segment_status
                CHECK (status IN ('waiting','running','done','canceled','dropped')),
            CONSTRAINT ck_segment_lease_iff_running
                CHECK ((status = 'running') = (lease_expires_at IS NOT NULL)),
            CONSTRAINT ck_segment_frames CHECK (frames > 0)
        );
        CREATE INDEX ix_segment_waiting ON segment (priority, tenant_id, engine, job_id, number)
            WHERE status = 'waiting' AND dispatched_at IS NULL;
        CREATE INDEX ix_segment_published ON segment (engine, dispatched_at)
            WHERE status = 'waiting' AND dispatched_at IS NOT NULL;
        CREATE INDEX ix_segment_leased ON segment (lease_expires_at) WHERE status = 'running';
        CREATE INDEX ix_segment_has_objects ON segment (job_id) WHERE has_objects;

        CREATE TABLE segment_attempt (
            job_id varchar NOT NULL,
            segment integer NOT NULL,
            number integer NOT NULL,
            worker varchar NOT NULL,
            started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            finished_at timestamptz,
            outcome varchar,
            error jsonb,
            CONSTRAINT pk_segment_attempt PRIMARY KEY (job_id, segment, number),
            CONSTRAINT fk_segment_attempt_job_id_segment
                FOREIGN KEY (job_id, segment) REFERENCES segment (job_id, number)
        );

        CREATE TABLE video_speed (
            engine varchar NOT NULL,
            model varchar NOT NULL,
            size_class integer NOT NULL,
            ms_per_frame double precision NOT NULL,
            frames bigint NOT NULL,
            measured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT pk_video_speed PRIMARY KEY (engine, model, size_class)
        );
        """
    )
    op.execute(_GUARD.format(after_finalizing=f"{_AFTER_FINALIZING},'processing'"))


def downgrade() -> None:
    op.execute(_GUARD.format(after_finalizing=_AFTER_FINALIZING))
    op.execute(
        f"""
        DROP TABLE video_speed;
        DROP TABLE segment_attempt;
        DROP TABLE segment;
        DROP INDEX ix_job_in_segments;
        ALTER TABLE job DROP CONSTRAINT ck_job_segments, DROP CONSTRAINT ck_job_lease_iff_running,
            DROP COLUMN segments_wanted, DROP COLUMN segments, DROP COLUMN segments_done;
        ALTER TABLE job ADD CONSTRAINT ck_job_lease_iff_running
            CHECK (({_RUNNING}) = (lease_expires_at IS NOT NULL));
        ALTER TABLE worker_heartbeat DROP COLUMN disk_bytes;
        ALTER TABLE tenant DROP COLUMN max_segments;
        """
    )
