"""Every frame of a video with other faces: the right ones, on exactly their frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.errors import CanceledError
from engines.face_swap.binding import Binding
from engines.face_swap.casting import Cast
from engines.face_swap.following import Follower, wanted_persons
from engines.face_swap.frames import FrameSwapper
from engines.face_swap.loading import load_tools
from engines.face_swap.networks import Networks
from engines.face_swap.params import FaceSwapParams, typed
from engines.face_swap.people import People
from engines.face_swap.report import used, video_work
from engines.face_swap.source import Source
from engines.face_swap.tally import Tally
from engines.face_swap.timing import LaneClock
from engines.face_swap.tools import Tools
from engines.manifest import ModelVersion
from engines.media.delivery import encoding_of
from engines.media.encoding import output_suffix
from engines.media.index import VideoIndex, index_video
from engines.media.label import label_frames
from engines.media.limits import MediaLimits
from engines.media.video import VideoWork, transform_video
from engines.metering import StageClock, usage_report
from engines.registry import Services
from engines.spec import (
    CanceledRunError,
    EngineResult,
    RunItem,
    UsageReport,
)

# Frames that a part of a video sees before its own: who is where, and how steady.
LEAD_IN = 24


def load_lanes(
    services: Services, model: ModelVersion, wanted: FaceSwapParams, clock: StageClock
) -> tuple[Tools, ...]:
    """Tools for as many frames at the same time as there are threads, each with its own."""
    threads = services.sessions.threads
    return tuple(
        load_tools(Networks(services, model, LaneClock(clock, threads), lane), wanted)
        for lane in range(threads)
    )


@dataclass(slots=True)
class VideoRun:
    """One video on its way."""

    item: RunItem
    cast: Cast
    tools: Tools  # with all threads, for what comes before the frames
    lanes: tuple[Tools, ...]
    people: People
    tally: Tally = field(default_factory=Tally)

    def run(self, limits: MediaLimits) -> EngineResult:
        """Replace what was asked for in every frame.

        Raises:
            InvalidInputError: as for pictures; ``no_such_frame``.
            CanceledRunError: with the work of the frames done until then.
        """
        clock = self.tools.clock.clock
        with clock.aside("index"):
            index = index_video(self.item.files.target, limits)
        sources = [self.people.source(role) for role in self.cast.roles]
        persons = wanted_persons(self.item, self.cast, self.tools, self.people, index)
        follower = Follower(Binding(typed(self.item.params), self.cast, persons))
        wanted, segment = typed(self.item.params), self.item.files.segment
        encoding = encoding_of(wanted.quality, wanted.container, in_parts=segment is not None)
        suffix = ".mp4" if segment else output_suffix(index, encoding.container)
        path = self.item.context.work_dir / f"swapped{suffix}"
        with FrameSwapper(self.lanes, follower, sources, self.tally) as swapper:
            try:
                work = transform_video(
                    self.item.files.target,
                    path,
                    index=index,
                    process=label_frames(swapper.swap, wanted.label, index),
                    batch=swapper.batch,
                    context=self.item.context,
                    encoding=encoding,
                    segment=segment,
                    lead_in=LEAD_IN,
                )
            except CanceledError as stop:
                raise CanceledRunError(stop.detail, usage=self._usage(index, sources)) from stop
        if segment is None:  # a part may show nobody
            self.tally.check()
        file = work.file(path, name=f"{self.item.files.stem}-swapped")
        return EngineResult((file,), self._data(work, sources), self._usage(index, sources))

    def _usage(self, index: VideoIndex, sources: Sequence[Source]) -> UsageReport:
        tally, model = self.tally, self.item.model
        work = video_work(
            model,
            typed(self.item.params),
            size=(index.width, index.height),
            frames=tally.frames,
            seconds=index.duration_s * min(1.0, tally.frames / max(1, index.frames)),
            faces=tally.faces,
            extra_faces=tally.extra_faces,
            cached=sum(source.is_cached for source in sources),
        )
        execution = self.lanes[0].swapper.execution
        return usage_report(self.tools.clock.clock, work=work, model=model, execution=execution)

    def _data(self, work: VideoWork, sources: Sequence[Source]) -> dict[str, Any]:
        facts = used(self.item.model, self.lanes[0], sources)
        return {
            **facts,
            **self.tally.describe(roles=len(sources)),
            **work.described(),
            "notes": [*facts["notes"], *work.notes],
        }
