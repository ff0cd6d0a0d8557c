"""Frames in, frames with other faces out: batch by batch, on all lanes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TypeVar

from engines.face_swap.following import Followed, Follower, seen_in
from engines.face_swap.replacing import replace_faces
from engines.face_swap.selection import Chosen
from engines.face_swap.source import Source
from engines.face_swap.swapper import Casting
from engines.face_swap.tally import Tally
from engines.face_swap.tools import Tools
from engines.faces.tracks import Seen
from engines.media.frame import Frame
from engines.media.planes import Pixels

_PER_LANE = 4  # frames that each lane has before it at a time

Thing = TypeVar("Thing")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class FrameSwapper:
    """Goes through the frames of a video, or of a part of it, in order. A context manager.

    Args:
        lanes: tools for as many frames at the same time.
        follower: knows the faces so far.
        sources: by number of the role.
    """

    lanes: Sequence[Tools]
    follower: Follower
    sources: Sequence[Source]
    tally: Tally = field(default_factory=Tally)
    _pool: ThreadPoolExecutor | None = None

    @property
    def batch(self) -> int:
        """Frames for one call that keep all lanes busy."""
        return _PER_LANE * len(self.lanes)

    def swap(self, frames: Sequence[Frame]) -> list[Frame | Pixels]:
        """The next frames with other faces; those without come back as they are.

        Pixels are changed in place. Frames of the part before are only looked at.
        """
        followed = self.follower.follow(frames, lambda some: self._each(self._look, some))
        if frames[0].lead_in:
            return list(frames)
        swapped = self._each(self._replace, list(zip(frames, followed, strict=True)))
        for seen, (_, done) in zip(followed, swapped, strict=True):
            self.tally.add(found=seen.found, chosen=seen.chosen, swapped=done)
        return [picture for picture, _ in swapped]

    def _look(self, job: tuple[Frame, bool], tools: Tools) -> list[Seen]:
        frame, recognise = job
        return seen_in(frame.pixels, tools, recognise=recognise)

    def _replace(
        self, job: tuple[Frame, Followed], tools: Tools
    ) -> tuple[Frame | Pixels, list[Chosen]]:
        frame, chosen = job[0], job[1].chosen
        if not chosen:
            return frame, []
        castings = [Casting(each.face, self.sources[each.role]) for each in chosen]
        done = replace_faces(frame.pixels, castings, tools)
        skipped = {id(casting.face) for casting, _ in done.skipped}
        left = [each for each in chosen if id(each.face) not in skipped]
        return (frame.pixels if left else frame), left

    def _each(
        self, work: Callable[[Thing, Tools], Answer], things: Sequence[Thing]
    ) -> list[Answer]:
        """The answers in order, each made on a lane; raises what the first that failed raised."""
        assert self._pool is not None  # noqa: S101 - entered
        free: SimpleQueue[Tools] = SimpleQueue()
        for lane in self.lanes:
            free.put(lane)

        def one(thing: Thing) -> Answer:
            lane = free.get()  # there are as many lanes as threads
            try:
                return work(thing, lane)
            finally:
                free.put(lane)

        return list(self._pool.map(one, things))

    def __enter__(self) -> Self:
        """Start a thread for each lane."""
        self._pool = ThreadPoolExecutor(len(self.lanes), "lane")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End them."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
