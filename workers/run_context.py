"""What an engine is given for one run: a folder, a way to tell progress, a place to stop."""

import time
from collections.abc import Callable
from pathlib import Path

from app.jobs.record import Progress
from engines.errors import CanceledError
from engines.spec import EmbeddingCache, FaceBlocklist
from workers.attempt_lease import AttemptLease


class AttemptContext:
    """Implements ``engines.spec.RunContext`` over the attempt's lease."""

    def __init__(
        self,
        lease: AttemptLease,
        work_dir: Path,
        *,
        embeddings: EmbeddingCache,
        blocked_faces: FaceBlocklist,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.embeddings = embeddings
        self.blocked_faces = blocked_faces
        self._lease = lease
        self._work_dir = work_dir
        self._clock = clock
        self._started = clock()

    @property
    def work_dir(self) -> Path:
        """An empty folder of this attempt alone."""
        return self._work_dir

    def progress(self, done: int, total: int, unit: str) -> None:
        """Remember how far the run is; written at the lease's pace."""
        elapsed_s = self._clock() - self._started
        fps = round(done / elapsed_s, 2) if unit == "frames" and elapsed_s > 0 else None
        self._lease.tell(Progress(done=done, total=total, unit=unit, fps=fps))

    def checkpoint(self) -> None:
        """Raise ``CanceledError`` once the run has to stop, whatever the reason."""
        reason = self._lease.stop_reason
        if reason is not None:
            raise CanceledError(f"the run stops: {reason}", code=reason.value)
