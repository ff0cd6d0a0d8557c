"""Disk of a node: reserved before a segment starts, given back with its lease.

What is reserved follows from the rows of what runs: nothing has to be given back, and a worker
that dies holds its share no longer than its lease. A node is the part of a worker's name behind
the @.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.jobs import segment_statements as statements
from workers.dispatch.outlook import HEARTBEAT_TIMEOUT_S
from workers.verdict import Failed

_SHARE_OF_FREE = 0.9

_LARGEST = text(
    """
    SELECT nullif(max(disk_bytes), 0) FROM worker_heartbeat
    WHERE engines ? :engine AND seen_at > clock_timestamp() - make_interval(secs => :timeout_s)
    """
)


@dataclass(frozen=True, slots=True)
class NodeDisk:
    """What the work of segments may take of this machine's disk together."""

    budget_bytes: int

    @classmethod
    def measured(cls, folder: Path, *, setting_bytes: int) -> "NodeDisk":
        """The operator's word, or most of what is free now."""
        if setting_bytes > 0:
            return cls(setting_bytes)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(int(shutil.disk_usage(folder).free * _SHARE_OF_FREE))

    def has_room(self, session: Session, *, worker: str, need_bytes: int) -> bool:
        """Whether the worker's node has room beside what runs there.

        Nobody else on the node gets an answer until the transaction ends.
        """
        node = {"node": worker.partition("@")[2]}
        session.execute(statements.LOCK_NODE, node)
        reserved = int(session.execute(statements.RESERVED, node).scalar_one())
        return reserved + need_bytes <= self.budget_bytes


def never_fits(session: Session, *, engine: str, need_bytes: int) -> Failed | None:
    """The end of a job that no living worker of the engine has a budget for; None: some has."""
    asked = {"engine": engine, "timeout_s": HEARTBEAT_TIMEOUT_S}
    largest = session.execute(_LARGEST, asked).scalar_one_or_none()
    if largest is None or need_bytes <= largest:
        return None
    return Failed(
        {
            "code": "disk_budget_too_small",
            "retryable": False,
            "detail": f"The result needs about {need_bytes} bytes of disk and no worker may use "
            f"more than {largest}. Send a shorter or smaller video, ask for a lower quality, or "
            "ask the operator to raise PIXELMETER_WORK_DISK_BYTES.",
        }
    )
