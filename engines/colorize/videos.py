"""Every frame of a video in colour, held still in time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from engines.colorize.chroma import Colour, lightness, to_lit_samples, to_samples, unit
from engines.colorize.kinds import looking_size
from engines.colorize.looking import Looked, Looker
from engines.colorize.painters import Painter, Subject
from engines.colorize.params import Chroma, ColorizeParams, Kind, typed
from engines.colorize.report import video_work
from engines.colorize.side_by_side import Side
from engines.colorize.smoothing import Smoother, frames_to_settle
from engines.errors import CanceledError
from engines.manifest import ModelVersion
from engines.media.decode import Frame
from engines.media.delivery import encoding_of
from engines.media.encoding import output_suffix
from engines.media.index import VideoIndex, index_video
from engines.media.label import label_frames
from engines.media.limits import MediaLimits
from engines.media.planes import Pixels
from engines.media.rows import ArrayRows
from engines.media.video import VideoWork, read_frames, transform_video
from engines.metering import StageClock, usage_report
from engines.registry import Registry
from engines.spec import CanceledRunError, EngineResult, RunItem, UsageReport

BATCH = 4  # frames per network run, where the network takes batches
_GLANCES = 3  # frames that are looked at before the type of a video is decided


@dataclass(slots=True)
class VideoRun:
    """One video through one model. ``look`` comes first; it may change the model."""

    item: RunItem
    index: VideoIndex
    looked: Looked
    clock: StageClock
    frames_done: int = 0
    lanes: int = 1  # threads that work on the frames of a batch side by side

    @classmethod
    def look(
        cls, item: RunItem, looker: Looker, clock: StageClock, limits: MediaLimits
    ) -> "VideoRun":
        """Read the index and find out what the first frames show."""
        asked = typed(item.params)
        with clock.aside("index"):
            index = index_video(item.files.target, limits)
        looked = Looked(asked.type, (), people=None, detector=None)
        if asked.type is Kind.AUTO:
            for frame in _glances(item, index):
                rows = ArrayRows(frame.pixels)
                looked = looker.look(item.model, rows, asked.type, clock)
                if looked.kind is Kind.PERSON:
                    break
        return cls(item, index, looked, clock)

    def run(
        self, model: ModelVersion, painters: Sequence[Painter], registry: Registry
    ) -> EngineResult:
        """Colour every frame; raises ``CanceledRunError`` with the frames done until then.

        Several painters, one for every thread, work side by side; see ``Sessions.lanes``.
        """
        painter = painters[0]
        asked = typed(self.item.params)
        size = looking_size(registry, model, asked, self.looked.kind)
        smoother = Smoother(asked.smoothing)
        self.lanes = registry.sessions.threads
        hands = ThreadPoolExecutor(self.lanes, "colorize")

        def process(frames: Sequence[Frame]) -> list[Frame | Pixels]:
            coloured = self._coloured(frames, Side(painters, hands), size, smoother)
            self.frames_done += 0 if frames[0].lead_in else len(coloured)
            return coloured

        segment = self.item.files.segment
        encoding = encoding_of(asked.quality, asked.container, in_parts=segment is not None)
        suffix = ".mp4" if segment else output_suffix(self.index, encoding.container)
        path = self.item.context.work_dir / f"colorized{suffix}"
        try:
            with hands:
                work = transform_video(
                    self.item.files.target,
                    path,
                    index=self.index,
                    process=label_frames(process, asked.label, self.index),
                    batch=BATCH,
                    context=self.item.context,
                    encoding=encoding,
                    segment=segment,
                    lead_in=lead_in(asked),
                )
        except CanceledError as stop:
            usage = self._usage(model, painter, self.frames_done)
            raise CanceledRunError(stop.detail, usage=usage) from stop
        file = work.file(path, name=f"{self.item.files.stem}-colorized")
        data = self._data(model, work, size, smoother)
        return EngineResult((file,), data, self._usage(model, painter, work.frames))

    def _coloured(
        self,
        frames: Sequence[Frame],
        side: Side,
        size: tuple[int, int],
        smoother: Smoother,
    ) -> list[Frame | Pixels]:
        """Only the smoothing needs frames in order; the rest of a batch is done side by side."""
        asked, clock, hands, painter = typed(self.item.params), self.clock, side.hands, side.first
        with clock.aside("shrink"):
            seen = (ArrayRows(frame.pixels) for frame in frames)
            subjects = list(hands.map(lambda rows: painter.look(rows, size, ()), seen))
        painted = side.paint(subjects, tile=asked.tile_size)
        clock.add("infer", sum(each.elapsed_ms for each in painted))

        def join(frame: Frame, subject: Subject, colour: Colour) -> Frame | Pixels:
            if frame.lead_in:
                return frame
            began = perf_counter()
            coloured = _joined(frame, painter, subject, colour, asked)
            # Of n side by side each counts for one n-th, as calls of a network do.
            clock.add("join", (perf_counter() - began) * 1000 / self.lanes)
            return coloured

        joining = []
        for frame, subject, guess in zip(frames, subjects, painted, strict=True):
            with clock.stage("smooth"):
                colour = smoother.next(subject.light, guess.colour, counts=not frame.lead_in)
            joining.append(hands.submit(join, frame, subject, colour))
        return [each.result() for each in joining]

    def _usage(self, model: ModelVersion, painter: Painter, frames: int) -> UsageReport:
        size = (self.index.width, self.index.height)
        work = video_work(model, kind=self.looked.kind, frames=frames, size=size)
        return usage_report(self.clock, work=work, model=model, execution=painter.execution)

    def _data(
        self, model: ModelVersion, work: VideoWork, size: tuple[int, int], smoother: Smoother
    ) -> dict[str, Any]:
        asked: ColorizeParams = typed(self.item.params)
        return {
            "model": model.id,
            "type": self.looked.kind.value,
            "detector": self.looked.detector,
            "chroma": asked.chroma.value,
            "smoothing": asked.smoothing,
            "flicker": {
                "unsmoothed": _rounded(smoother.raw.mean),
                "smoothed": _rounded(smoother.smooth.mean),
                "unit": "mean change of a and b from frame to frame where light stands still",
                "pixels": smoother.raw.count,
            },
            "scene_cuts": smoother.cuts,
            "input_size": list(size),
            **work.described(),
        }


def lead_in(asked: ColorizeParams) -> int:
    """How many frames before its own a part must see for its colour to be that of the whole.

    At least one: what changes from frame to frame is measured.
    """
    return frames_to_settle(asked.smoothing)


def _joined(
    frame: Frame, painter: Painter, subject: Subject, colour: Colour, asked: ColorizeParams
) -> Pixels:
    height, width = frame.pixels.shape[:2]
    light = lightness(unit(frame.pixels))
    spread = painter.spread(asked.chroma, subject, colour, height=height, width=width)
    finish = to_samples if asked.chroma is Chroma.REFERENCE else to_lit_samples
    return np.asarray(finish(light, spread.rows(light, 0), np.dtype(np.uint8)), np.uint8)


def _glances(item: RunItem, index: VideoIndex) -> list[Frame]:
    """A few frames from the beginning, a second apart where the video is long enough."""
    wanted = {round(number * max(1.0, index.fps)) for number in range(_GLANCES)}
    found: list[Frame] = []
    for frame in read_frames(item.files.target, index):
        if frame.index in wanted:
            found.append(frame)
        if frame.index >= max(wanted):
            break
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
