"""The types of events and who wants which. Pure."""

from collections.abc import Collection
from enum import StrEnum


class EventType(StrEnum):
    """What a webhook can tell; public names."""

    JOB_STARTED = "job.started"  # a worker took the job
    JOB_PROGRESS = "job.progress"  # how far a running job is; at most once a second
    JOB_SUCCEEDED = "job.succeeded"  # settled; outputs are ready
    JOB_FAILED = "job.failed"  # gave up; nothing was charged
    JOB_CANCELED = "job.canceled"  # stopped on request; the work so far was charged
    JOB_EXPIRED = "job.expired"  # missed its start deadline; nothing was charged
    BATCH_COMPLETED = "batch.completed"  # every item has ended and is settled; said once
    CAP_NEAR = "cap.near"  # 50, 80 or 95 % of a cap are used
    CAP_REACHED = "cap.reached"  # a cap is used up, or refused a job; once per window
    TIER_NEAR = "tier.near"  # few tokens are left to a cheaper band; once a month and band
    BALANCE_LOW = "balance.low"  # fewer tokens are left than the owner wanted to hear of
    ANOMALY_DETECTED = "anomaly.detected"  # a rule about odd use found something
    TENANT_FROZEN = "tenant.frozen"  # new jobs are refused until an operator unfreezes
    GRANT_ISSUED = "grant.issued"  # tokens were given, by a rule or by operators
    TEST = "test"  # asked for by hand


# Said only to those who name them: they are many and change nothing.
ON_REQUEST = frozenset({EventType.JOB_STARTED, EventType.JOB_PROGRESS})
# Worth nothing later: tried once.
FLEETING = frozenset({EventType.JOB_PROGRESS})


def wants(events: Collection[str], event: EventType) -> bool:
    """Whether a subscription to ``events`` covers this one; an empty one means all final events."""
    if events:
        return event.value in events
    return event not in ON_REQUEST
