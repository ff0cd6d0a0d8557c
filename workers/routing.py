"""Names of tasks and queues. Pure data that the dispatcher, the worker and the tests share."""

from enum import StrEnum

from app.jobs.states import PRIORITY_LEVELS, Priority


class TaskName(StrEnum):
    """Every Celery task, by the name that travels."""

    RUN_JOB = "workers.run_job.run_job"  # one attempt of one job
    RUN_SEGMENT = "workers.segments.run.run_segment"  # one attempt of one segment of a long video
    FINALIZE = "workers.segments.finalize.finalize"  # the join of a long video's segments
    SETTLE = "workers.settle.settle"  # hint: usage records wait for settlement
    DELIVER = "workers.deliver.deliver"  # hint: webhook deliveries are due
    SWEEP = "workers.sweep.sweep"  # hint: look for forgotten promises
    TELL_LIMITS = "workers.notices.tell_limits"  # hint: look for crossed caps and low balances
    FIND_ANOMALIES = "workers.anomalies.find_anomalies"  # hint: apply the rules about odd use
    COPY_USAGE = "workers.copy_usage.copy_usage"  # hint: usage lines may wait for their copy
    SEAL_AUDIT = "workers.audit.seal_audit"  # hint: booked journals wait for the audit chain
    START_ESTIMATES = "workers.estimates.start_estimates"  # hint: batches may start
    TEND_BATCHES = "workers.batches.tend_batches"  # hint: batches may have to go on or end
    MEASURE_SPEEDS = "workers.speeds.measure_speeds"  # hint: runs have ended
    GRANT = "workers.grant.grant"  # hint: rules may be due
    KEEP_BOOKS = "workers.books.keep_books"  # hint: months, cycles and tiers may be due
    RECONCILE = "workers.reconcile.reconcile"  # hint: it may be night
    COLLECT_GARBAGE = "workers.sweep.collect_garbage"  # hint: compare rows and objects
    COLLECT_FILES = "workers.sweep.collect_files"  # hint: remove expired files


class Queue(StrEnum):
    """Every queue that is not an engine's."""

    FINALIZE = "finalize"
    BILLING = "billing"
    WEBHOOKS = "webhooks"
    MAINTENANCE = "maintenance"


# What a worker imports, children too: the tasks, and the hooks of a child's life.
TASK_MODULES = (
    "workers.run_job",
    "workers.segments.run",
    "workers.segments.finalize",
    "workers.settle",
    "workers.deliver",
    "workers.estimates",
    "workers.batches",
    "workers.speeds",
    "workers.grant",
    "workers.books",
    "workers.sweep",
    "workers.notices",
    "workers.copy_usage",
    "workers.anomalies",
    "workers.audit",
    "workers.reconcile",
    "workers.lifecycle",
    "workers.orphans",
)

ROUTES: dict[str, dict[str, str]] = {
    TaskName.FINALIZE.value: {"queue": Queue.FINALIZE.value},
    TaskName.SETTLE.value: {"queue": Queue.BILLING.value},
    TaskName.DELIVER.value: {"queue": Queue.WEBHOOKS.value},
    TaskName.START_ESTIMATES.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.TEND_BATCHES.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.MEASURE_SPEEDS.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.GRANT.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.KEEP_BOOKS.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.SWEEP.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.TELL_LIMITS.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.FIND_ANOMALIES.value: {"queue": Queue.MAINTENANCE.value},
    # Where threads may wait for somebody else's server.
    TaskName.COPY_USAGE.value: {"queue": Queue.WEBHOOKS.value},
    TaskName.SEAL_AUDIT.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.RECONCILE.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.COLLECT_GARBAGE.value: {"queue": Queue.MAINTENANCE.value},
    TaskName.COLLECT_FILES.value: {"queue": Queue.MAINTENANCE.value},
}

# Redis keeps one list per step; steps that are too few merge levels.
PRIORITY_STEPS = tuple(sorted(PRIORITY_LEVELS.values()))


_ENGINE_PREFIX = "engine."


def engine_queue(engine: str) -> str:
    """The queue that an engine's jobs wait in, ``engine.detect``."""
    return _ENGINE_PREFIX + engine


def engine_of(queue: str) -> str | None:
    """The engine of a queue; None for a queue that is not an engine's."""
    return queue.removeprefix(_ENGINE_PREFIX) if queue.startswith(_ENGINE_PREFIX) else None


def message_priority(priority: Priority) -> int:
    """The number Redis sorts by; 0 is first."""
    return PRIORITY_LEVELS[priority]
