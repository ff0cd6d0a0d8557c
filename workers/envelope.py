"""Two ways in which Redis can end a worker with its running job, and how they are closed.

Rubbish: kombu decodes what it pops before any error handling of Celery's, so a line that is not
JSON, or JSON that is not an envelope, is fatal. Redis lists have no owner; a stranger's program or
a person with redis-cli can put one there.

A killed Redis: kombu closes the lost connection twice while a message is unacknowledged, and the
second time it looks for an address that the first one removed, which is fatal too.
"""

import logging
from queue import Empty
from typing import Any

from kombu.transport.redis import Channel, Transport

log = logging.getLogger(__name__)


class TolerantChannel(Channel):
    """A Redis channel that drops what it cannot read, and can be closed twice."""

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401 - kombu's signature
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu's
        except (ValueError, TypeError, LookupError, AttributeError):
            log.exception("dropped something from a queue that is no message")
            raise Empty from None

    def close(self) -> None:
        """Close; messages that cannot be handed back are found again in the database."""
        try:
            super().close()  # type: ignore[no-untyped-call]  # kombu's
        except AttributeError:
            log.warning("a lost connection was closed with unacknowledged messages")


def tolerate_rubbish() -> None:
    """Make kombu's Redis transport use the tolerant channel; it has no setting for its channel."""
    Transport.Channel = TolerantChannel
