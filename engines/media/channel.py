"""A bounded hand-over between two threads that either side can leave at any time."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_HEARTBEAT_S = 0.5


class ChannelClosedError(Exception):
    """Raised in ``put`` when the reader has left; the writer should stop, nothing is wrong."""


class Channel(Generic[T]):
    """At most ``depth`` items wait; ``put`` blocks until there is room.

    The writer ends with ``end`` or ``fail``; the reader gets what is left, then ``None`` or the
    writer's error. ``leave`` wakes a blocked writer, so no thread is ever stuck.
    """

    def __init__(self, *, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._left = False
        self._error: BaseException | None = None

    def put(self, item: T, *, idle: Callable[[], None] | None = None) -> None:
        """Hand over one item; ``idle`` is called every half second of waiting and may raise."""
        with self._changed:
            self._wait(lambda: self._left or len(self._items) < self._depth, idle)
            if self._left:
                raise ChannelClosedError
            self._items.append(item)
            self._changed.notify_all()

    def get(self, *, idle: Callable[[], None] | None = None) -> T | None:
        """Take the oldest item; ``None`` after the last one. Raises what the writer failed with."""
        with self._changed:
            self._wait(lambda: self._items or self._ended, idle)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error:
                raise self._error
            return None

    def end(self) -> None:
        """Say that nothing more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Say that nothing more will come because of ``error``."""
        with self._changed:
            self._error = error
        self.end()

    def leave(self) -> None:
        """Stop reading: what waits is dropped and the writer is told."""
        with self._changed:
            self._left = True
            self._items.clear()
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], object], idle: Callable[[], None] | None) -> None:
        while not self._changed.wait_for(ready, timeout=_HEARTBEAT_S):
            if idle:
                idle()
