"""What happens by the clock. Every effect is idempotent: two beats only do the same work twice."""

from typing import Any

from workers.routing import TaskName

SWEEP_EVERY_S = 30.0
TELL_LIMITS_EVERY_S = 30.0
SEAL_EVERY_S = 10.0
FIND_ANOMALIES_EVERY_S = 300.0
START_ESTIMATES_EVERY_S = 5.0
TEND_BATCHES_EVERY_S = 5.0
MEASURE_SPEEDS_EVERY_S = 60.0
COPY_USAGE_EVERY_S = 30.0
GRANT_EVERY_S = 300.0
KEEP_BOOKS_EVERY_S = 300.0
COLLECT_FILES_EVERY_S = 300.0
COLLECT_GARBAGE_EVERY_S = 3600.0
RECONCILE_EVERY_S = 1800.0


def _entry(task: TaskName, every_s: float) -> dict[str, Any]:
    # A hint that was not read before the next one is due says nothing new: let it expire.
    return {"task": task.value, "schedule": every_s, "options": {"expires": every_s}}


SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep": _entry(TaskName.SWEEP, SWEEP_EVERY_S),
    "tell-limits": _entry(TaskName.TELL_LIMITS, TELL_LIMITS_EVERY_S),
    "find-anomalies": _entry(TaskName.FIND_ANOMALIES, FIND_ANOMALIES_EVERY_S),
    "copy-usage": _entry(TaskName.COPY_USAGE, COPY_USAGE_EVERY_S),
    "seal-audit": _entry(TaskName.SEAL_AUDIT, SEAL_EVERY_S),
    "start-estimates": _entry(TaskName.START_ESTIMATES, START_ESTIMATES_EVERY_S),
    "tend-batches": _entry(TaskName.TEND_BATCHES, TEND_BATCHES_EVERY_S),
    "measure-speeds": _entry(TaskName.MEASURE_SPEEDS, MEASURE_SPEEDS_EVERY_S),
    "grant": _entry(TaskName.GRANT, GRANT_EVERY_S),
    "keep-books": _entry(TaskName.KEEP_BOOKS, KEEP_BOOKS_EVERY_S),
    "reconcile": _entry(TaskName.RECONCILE, RECONCILE_EVERY_S),
    "collect-garbage": _entry(TaskName.COLLECT_GARBAGE, COLLECT_GARBAGE_EVERY_S),
    "collect-files": _entry(TaskName.COLLECT_FILES, COLLECT_FILES_EVERY_S),
}
