"""What a run came to, and how an engine's exceptions are told to the job. Pure."""

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

from engines.errors import CanceledError, EngineError, ExhaustedError
from engines.spec import CanceledRunError, EngineResult, UsageReport
from workers.attempt_lease import StopReason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """There is a result."""

    result: EngineResult
    cached: bool = False  # a copy of an earlier one; nothing is charged


@dataclass(frozen=True, slots=True)
class Failed:
    """The same input would fail again; the job ends."""

    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Retryable:
    """Another attempt may succeed; the job is queued again or ends after the last attempt."""

    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Canceled:
    """The customer stopped it; the work measured until then is charged."""

    usage: UsageReport | None  # None: nothing chargeable was done


@dataclass(frozen=True, slots=True)
class Superseded:
    """The lease is gone: another attempt owns the job, so nothing may be written."""


Verdict = Succeeded | Failed | Retryable | Canceled | Superseded


def judge(
    run: Callable[[], EngineResult], *, stop_reason: Callable[[], StopReason | None]
) -> Verdict:
    """Run an engine and translate whatever it raises, once, here.

    ``stop_reason`` is asked after a ``CanceledError``: it says who wanted the run to stop.
    """
    try:
        return Succeeded(run())
    except Exception as error:  # noqa: BLE001 - an engine's bug ends as a failed attempt, not lost
        return refusal(error, stop_reason=stop_reason)


def refusal(error: Exception, *, stop_reason: Callable[[], StopReason | None]) -> Verdict:
    """What an exception of an engine means for the job; one that nobody foresaw is logged."""
    match error:
        case CanceledError():
            return _stopped(error, stop_reason())
        case EngineError():
            return _refused(error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            message = "The disk of the worker is full. Nothing is charged; submit the job again."
            return _refused(ExhaustedError(message, code="disk_full"))
        case MemoryError():
            return _refused(ExhaustedError("The worker ran out of memory; try a smaller input."))
    log.error("the engine failed unexpectedly", exc_info=error)
    return Retryable(
        {
            "code": EngineError.code,
            "detail": "The engine failed unexpectedly. Nothing is charged; submit the job "
            "again, or contact support with its id.",
            "retryable": True,
        }
    )


def _refused(error: EngineError) -> Failed | Retryable:
    told = {"code": error.code, "detail": error.detail, "retryable": error.retryable}
    return Retryable(told) if error.retryable else Failed(told)


def _stopped(stop: CanceledError, reason: StopReason | None) -> Verdict:
    match reason:
        case StopReason.LEASE_LOST:
            return Superseded()
        case StopReason.RUNTIME:
            return Failed(
                {
                    "code": "max_runtime_exceeded",
                    "detail": "The run took longer than max_runtime_s. Nothing is charged; "
                    "allow more time or send a smaller input.",
                    "retryable": False,
                }
            )
        case StopReason.CANCELED | None:
            return Canceled(stop.usage if isinstance(stop, CanceledRunError) else None)
        case _:
            assert_never(reason)
