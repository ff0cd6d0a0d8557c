"""Hints to the billing and webhook workers: that there is work, never which.

A hint that still waits in its queue will see everything committed before it runs, so one waiting
hint is enough however many jobs end; that is what keeps settlement immediate and cheap.
"""

from sqlalchemy.orm import Session, sessionmaker

from app.webhooks.service import count_due
from billing.usage import unsettled
from workers.dispatch.broker import Broker, Message
from workers.routing import Queue, TaskName

SENDERS_MAX = 8  # deliveries under way at once are worth this many hints


def hint_settlement(broker: Broker) -> None:
    """Tell the billing worker that usage waits, unless it will look anyway."""
    if broker.depth(Queue.BILLING.value) == 0:
        broker.send(Message(TaskName.SETTLE, Queue.BILLING.value))


def hint_deliveries(sessions: sessionmaker[Session], broker: Broker) -> None:
    """Give the webhook worker as many hints as deliveries are due, up to its threads."""
    with sessions() as session:
        due = count_due(session, limit=SENDERS_MAX)
    missing = due - broker.depth(Queue.WEBHOOKS.value) if due else 0
    for _ in range(missing):
        broker.send(Message(TaskName.DELIVER, Queue.WEBHOOKS.value))


def hint_forgotten_settlement(sessions: sessionmaker[Session], broker: Broker) -> None:
    """Hint again when usage is left over: the hint was lost, or a settlement failed."""
    with sessions() as session:
        waiting = unsettled(session, limit=1)
    if waiting:
        hint_settlement(broker)
