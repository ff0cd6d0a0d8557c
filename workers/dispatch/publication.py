"""One turn of the dispatcher: free slots in, messages out, the database told of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from app.jobs.lifecycle import mark_dispatched
from app.jobs.states import Priority
from workers.dispatch import outlook
from workers.dispatch.broker import Broker, Message
from workers.dispatch.selection import Candidate, select
from workers.routing import TaskName, engine_queue, message_priority

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
        chosen = {candidate.job_id: (candidate, level) for candidate, level in selection.chosen}
        for job_id in mark_dispatched(session, job_ids=list(chosen)):
            candidate, level = chosen[job_id]
            broker.send(job_message(candidate, level))
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
            by_id = {each.job_id: each for each in lost}
            for job_id in mark_dispatched(session, job_ids=list(by_id)):
                broker.send(job_message(by_id[job_id], by_id[job_id].priority))
                republished += 1
    return republished


def job_message(candidate: Candidate, level: Priority) -> Message:
    """The message of a job's next attempt; it carries the id and nothing to trust."""
    limit_s = candidate.max_runtime_s or DEFAULT_RUNTIME_S
    return Message(
        task=TaskName.RUN_JOB,
        queue=engine_queue(candidate.engine),
        args=(candidate.job_id,),
        task_id=f"{candidate.job_id}:{candidate.attempt + 1}",
        priority=message_priority(level),
        time_limit_s=limit_s + KILL_GRACE_S,
    )


def _save_clocks(session: Session, times: Mapping[str, float]) -> None:
    if times:
        session.execute(
            outlook.SAVE_CLOCKS, {"tenants": list(times), "times": list(times.values())}
        )
