"""Tables of what is kept of faces; every vector in them is sealed."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class EmbeddingKey(Base):
    """The key of one tenant's embeddings, itself sealed; without the row they are noise."""

    __tablename__ = "embedding_key"

    tenant_id: Mapped[str] = mapped_column(
        ForeignKey(Tenant.id, ondelete="CASCADE"), primary_key=True
    )
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class FaceEmbedding(Base):
    """One vector, found by what only the tenant's key can compute of its picture."""

    __tablename__ = "face_embedding"

    tenant_id: Mapped[str] = mapped_column(
        ForeignKey(EmbeddingKey.tenant_id, ondelete="CASCADE"), primary_key=True
    )
    place: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime]

    __table_args__ = (Index("ix_face_embedding_expires_at", "expires_at"),)


class BlockedFace(Base):
    """A face that nobody may use as a source, as one embedder sees it."""

    __tablename__ = "blocked_face"

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]  # what made the vector; it is compared with vectors of the same only
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    threshold: Mapped[float] = mapped_column(Float)  # cosine from which on a face is this one
    reason: Mapped[str]
    added_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))

    __table_args__ = (
        CheckConstraint("threshold > 0 AND threshold <= 1", name="threshold"),
        Index("ix_blocked_face_model", "model"),
    )
