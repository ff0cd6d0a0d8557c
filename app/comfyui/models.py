"""Tables of the ComfyUI port: prompts, and what their clients call pictures."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class ComfyPrompt(Base):
    """A graph that was accepted and the jobs it became; ``app.comfyui.prompts`` writes it."""

    __tablename__ = "comfyui_prompt"

    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)  # the client's own, or made here
    sequence: Mapped[int]  # 1, 2, ... of the tenant
    number: Mapped[float] = mapped_column(Float)  # as the client sees it
    fingerprint: Mapped[str]  # SHA-256 of what was sent: the same id again is the same prompt
    client_id: Mapped[str | None]
    graph: Mapped[dict[str, Any]]
    extra_data: Mapped[dict[str, Any]]
    node_errors: Mapped[dict[str, Any]]
    # In order: {"node", "nodes", "colour_node", "job", "file", "said"}; see ``reading.Output``.
    outputs: Mapped[list[dict[str, Any]]] = mapped_column(JSONB(none_as_null=True))
    job_ids: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    told_at: Mapped[datetime | None]  # its end was sent to its client, or nobody waits for it
    hidden_at: Mapped[datetime | None]  # taken out of queue or history by the client

    __table_args__ = (
        Index("ix_comfyui_prompt_tenant_id_sequence", "tenant_id", "sequence"),
        Index("ix_comfyui_prompt_untold", "tenant_id", postgresql_where=text("told_at IS NULL")),
    )


class ComfyFile(Base):
    """A name under which a picture can be loaded or viewed; ``app.comfyui.files`` writes it."""

    __tablename__ = "comfyui_file"

    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    folder: Mapped[str] = mapped_column(primary_key=True)  # input | output | temp
    subfolder: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    file_id: Mapped[str | None]  # an upload
    job_id: Mapped[str | None]  # the first file of this job's result, once it is there
    stem: Mapped[str | None]  # of a result: what is counted
    number: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))

    __table_args__ = (
        CheckConstraint("num_nonnulls(file_id, job_id) = 1", name="one_picture"),
        CheckConstraint("folder IN ('input','output','temp')", name="folder"),
    )
