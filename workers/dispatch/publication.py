"""One turn of the dispatcher: free slots in, messages out, the database told of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from app.jobs.lifecycle import mark_dispatched
from app.jobs.segments import mark_dispatched as mark_segments
from app.jobs.states import Priority
from workers.dispatch import outlook
from workers.dispatch.broker import Broker, Message
from workers.dispatch.selection import Candidate, select
from workers.routing import Queue, TaskName, engine_queue, message_priority

# A job without a limit of its own: a wedged engine is killed after this.
DEFAULT_RUNTIME_S = 4 * 3600
HEADS = 32  # of each lane are looked at; more slots than this are filled in several turns
KILL_GRACE_S = 60  # the worker stops the run itself at its limit; the kill is for wedged ones


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn did, and whether a slot that frees up could be filled at once."""

    published: int
    is_more_waiting: bool


def dispatch_waiting(sessions: sessionmaker[Session], broker: Broker) -> Turn:
    """Publish as many waiting jobs as there are free slots.

    The mark and the tenants' clocks are committed after the broker took the messages. A crash in
    between publishes a job twice, which a worker notices; it never loses one.

    Raises:
        BrokerDownError: nothing is marked; the next turn tries again.
    """
    with sessions.begin() as session:
        waiting = outlook.candidates(session, heads=HEADS)
        if not waiting:
            return Turn(published=0, is_more_waiting=False)
        slots = {engine: load.free_slots for engine, load in outlook.engine_loads(session).items()}
        if not any(slots.values()):
            return Turn(published=0, is_more_waiting=True)
        shares = outlook.shares(session, tenants={each.tenant_id for each in waiting})
        selection = select(waiting, shares=shares, free_slots=slots)
        chosen = dict(selection.chosen)
        _publish(session, broker, chosen)
        _save_clocks(session, selection.virtual_times)
        return Turn(published=len(chosen), is_more_waiting=len(chosen) < len(waiting))


def republish_lost(sessions: sessionmaker[Session], broker: Broker) -> int:
    """Publish again what was published long ago and is neither claimed nor on the broker.

    A broker that lost its memory (killed, flushed, failed over) holds fewer messages than the
    database counts. Messages that still wait behind long jobs are left alone.
    """
    republished = 0
    with sessions.begin() as session:
        for engine, load in outlook.engine_loads(session).items():
            if not load.stale or broker.depth(engine_queue(engine)) >= load.published:
                continue
            lost = outlook.stale(session, engine=engine, limit=max(load.capacity, 1) * 8)
            republished += _publish(session, broker, {each: each.priority for each in lost})
    return republished


def dispatch_joins(sessions: sessionmaker[Session], broker: Broker) -> int:
    """Have jobs finalized whose segments are all done; returns how many messages that took.

    What was published long ago and is not on the broker any more is published again.

    Raises:
        BrokerDownError: nothing is marked; the next turn tries again.
    """
    with sessions.begin() as session:
        waiting = outlook.joinable(session)
        if any(each.is_stale for each in waiting):
            published = sum(each.is_published for each in waiting)
            is_lost = broker.depth(Queue.FINALIZE.value) < published
        else:
            is_lost = False
        due = [each for each in waiting if not each.is_published or (is_lost and each.is_stale)]
        for each in due:
            broker.send(join_message(each))
        if due:
            outlook.mark_joins(session, job_ids=[each.job_id for each in due])
        return len(due)


def job_message(candidate: Candidate, level: Priority) -> Message:
    """The message of the next attempt of a job or a segment; ids and nothing to trust."""
    limit_s = candidate.max_runtime_s or DEFAULT_RUNTIME_S
    attempt = candidate.attempt + 1
    task, args = TaskName.RUN_JOB, [candidate.job_id]
    if candidate.segment is not None:
        task, args = TaskName.RUN_SEGMENT, [candidate.job_id, str(candidate.segment)]
    return Message(
        task=task,
        queue=engine_queue(candidate.engine),
        args=tuple(args),
        task_id=":".join((*args, str(attempt))),
        priority=message_priority(level),
        time_limit_s=limit_s + KILL_GRACE_S,
    )


def join_message(job: outlook.Joinable) -> Message:
    """The message that has a job's segments joined; before new work of any class."""
    return Message(
        task=TaskName.FINALIZE,
        queue=Queue.FINALIZE.value,
        args=(job.job_id,),
        task_id=f"{job.job_id}:{job.attempt + 1}",
        time_limit_s=(job.max_runtime_s or DEFAULT_RUNTIME_S) + KILL_GRACE_S,
    )


def _publish(session: Session, broker: Broker, chosen: Mapping[Candidate, Priority]) -> int:
    """Mark and send what still waits; returns how many."""
    jobs = {each.job_id: each for each in chosen if each.segment is None}
    parts = {(each.job_id, each.segment): each for each in chosen if each.segment is not None}
    marked = [jobs[job_id] for job_id in mark_dispatched(session, job_ids=list(jobs))]
    marked += [parts[name] for name in mark_segments(session, segments=list(parts))]
    for candidate in sorted(marked, key=list(chosen).index):
        broker.send(job_message(candidate, chosen[candidate]))
    return len(marked)


def _save_clocks(session: Session, times: Mapping[str, float]) -> None:
    if times:
        session.execute(
            outlook.SAVE_CLOCKS, {"tenants": list(times), "times": list(times.values())}
        )
