"""Frames of a video through a network: on lanes of their own where the device allows it."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from queue import SimpleQueue

from engines.colorize.painters import Painted, Painter, Subject


@dataclass(frozen=True, slots=True)
class Side:
    """One painter, or as many as there are threads.

    Beside decoding and encoding, networks of one thread each do not wait for each other as the
    threads of one network do. Of n lanes each call counts one n-th, so that a frame costs no more.
    """

    painters: Sequence[Painter]
    hands: Executor

    @property
    def first(self) -> Painter:
        """Any of them: they differ in nothing but the thread that they run on."""
        return self.painters[0]

    def paint(self, subjects: Sequence[Subject], *, tile: int | None) -> list[Painted]:
        """The colour of each frame, in order."""
        if len(self.painters) == 1:
            return list(self.first.paint(subjects, tile=tile))
        free: SimpleQueue[Painter] = SimpleQueue()
        for painter in self.painters:
            free.put(painter)

        def one(subject: Subject) -> Painted:
            painter = free.get()
            try:
                [painted] = painter.paint([subject], tile=tile)
            finally:
                free.put(painter)
            return replace(painted, elapsed_ms=painted.elapsed_ms / len(self.painters))

        return list(self.hands.map(one, subjects))
