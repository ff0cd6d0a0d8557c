"""The table of measured speeds: small, and rewritten from the newest runs."""

from datetime import datetime

from sqlalchemy import Float, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class MeasuredSpeed(Base):
    """How long runs of one kind took on one device. Only ``app.speeds.measuring`` writes it."""

    __tablename__ = "measured_speed"

    engine: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)  # name@version
    media: Mapped[str] = mapped_column(primary_key=True)  # image | video
    variant: Mapped[str] = mapped_column(primary_key=True)  # what else makes it slower
    size_class: Mapped[int] = mapped_column(primary_key=True)  # log2 of the pixels of a unit
    length_class: Mapped[int] = mapped_column(primary_key=True)  # log2 of the units
    device: Mapped[str] = mapped_column(primary_key=True)
    samples: Mapped[int]
    p50_ms: Mapped[float] = mapped_column(Float)  # per picture or frame
    p90_ms: Mapped[float] = mapped_column(Float)
    per_estimated: Mapped[float] = mapped_column(Float)  # median of time over job.estimated_ms
    charged_share: Mapped[float] = mapped_column(Float)  # median of charge over quote
    measured_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
