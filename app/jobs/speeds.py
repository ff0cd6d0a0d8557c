"""How long frames of videos took lately, by engine, model and size: what planning goes by.

One row each, a mean that forgets: what was measured counts by its frames, what was known before
by at most ``MEMORY_FRAMES``. Sizes are classes of pixels, each twice the one before.
"""

import math
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

MEMORY_FRAMES: Final = 5000

_NOTE = text(
    """
    INSERT INTO video_speed AS known (engine, model, size_class, ms_per_frame, frames)
    VALUES (:engine, :model, :size_class, :gpu_ms / :frames, :frames)
    ON CONFLICT (engine, model, size_class) DO UPDATE SET
        ms_per_frame = (known.ms_per_frame * least(known.frames, :memory) + :gpu_ms)
            / (least(known.frames, :memory) + :frames),
        frames = least(known.frames, :memory) + :frames, measured_at = clock_timestamp()
    """
)
_FIND = text(
    "SELECT ms_per_frame FROM video_speed"
    " WHERE engine = :engine AND model = :model AND size_class = :size_class"
)


def size_class(width: int, height: int) -> int:
    """The power of two nearest to a frame's pixels."""
    return round(math.log2(max(1, width * height)))


def note(
    session: Session,
    *,
    engine: str,
    model: str,
    size: tuple[int, int],
    frames: int,
    gpu_ms: float,
) -> None:
    """Learn from a run; ``model`` is ``name@version``, ``size`` pixels, ``frames`` of this run."""
    if frames > 0:
        session.execute(
            _NOTE,
            {
                "engine": engine,
                "model": model,
                "size_class": size_class(*size),
                "gpu_ms": float(gpu_ms),
                "frames": frames,
                "memory": MEMORY_FRAMES,
            },
        )


def ms_per_frame(
    session: Session, *, engine: str, model: str, size: tuple[int, int]
) -> float | None:
    """Compute time of a frame, milliseconds; None before anything was measured."""
    asked = {"engine": engine, "model": model, "size_class": size_class(*size)}
    found: float | None = session.execute(_FIND, asked).scalar_one_or_none()
    return found
