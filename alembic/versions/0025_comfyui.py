"""Prompts of the ComfyUI port and the names of their pictures."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE comfyui_prompt (
            tenant_id varchar NOT NULL,
            id varchar NOT NULL,
            sequence integer NOT NULL,
            number double precision NOT NULL,
            fingerprint varchar NOT NULL,
            client_id varchar,
            graph jsonb NOT NULL,
            extra_data jsonb NOT NULL,
            node_errors jsonb NOT NULL,
            outputs jsonb NOT NULL,
            job_ids jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            told_at timestamptz,
            hidden_at timestamptz,
            CONSTRAINT pk_comfyui_prompt PRIMARY KEY (tenant_id, id),
            CONSTRAINT fk_comfyui_prompt_tenant_id_tenant
                FOREIGN KEY (tenant_id) REFERENCES tenant (id)
        );
        CREATE INDEX ix_comfyui_prompt_tenant_id_sequence ON comfyui_prompt (tenant_id, sequence);
        CREATE INDEX ix_comfyui_prompt_untold ON comfyui_prompt (tenant_id)
            WHERE told_at IS NULL;
        CREATE TABLE comfyui_file (
            tenant_id varchar NOT NULL,
            folder varchar NOT NULL,
            subfolder varchar NOT NULL,
            name varchar NOT NULL,
            file_id varchar,
            job_id varchar,
            stem varchar,
            number integer,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT pk_comfyui_file PRIMARY KEY (tenant_id, folder, subfolder, name),
            CONSTRAINT fk_comfyui_file_tenant_id_tenant
                FOREIGN KEY (tenant_id) REFERENCES tenant (id),
            CONSTRAINT ck_comfyui_file_one_picture CHECK (num_nonnulls(file_id, job_id) = 1),
            CONSTRAINT ck_comfyui_file_folder CHECK (folder IN ('input','output','temp'))
        );
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE comfyui_file, comfyui_prompt;")
