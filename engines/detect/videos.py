"""Detection on every frame of a video."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.detect.detection import Detection, Pixels, Question
from engines.detect.detector import Detector
from engines.detect.drawing import Painter
from engines.detect.exports import Exports
from engines.detect.params import DetectParams
from engines.detect.report import result, usage
from engines.detect.side_by_side import SideBySide
from engines.detect.summary import FrameLog
from engines.errors import CanceledError
from engines.media.decode import Frame
from engines.media.delivery import encoding_of
from engines.media.encoding import output_suffix
from engines.media.index import VideoIndex, index_video
from engines.media.label import label_frames
from engines.media.limits import MediaLimits
from engines.media.video import VideoWork, scan_video, transform_video
from engines.metering import StageClock
from engines.spec import (
    CanceledRunError,
    EngineResult,
    MediaKind,
    OutputFile,
    RunItem,
    UsageReport,
)

FoundIn = Callable[[Sequence[Frame]], list[list[Detection]]]

LOG_NAME = "detections.json"
_BATCH = 4  # frames per network run, where the network takes batches


@dataclass(frozen=True, slots=True)
class VideoRun:
    """One run's constant facts."""

    item: RunItem
    lanes: Sequence[Detector]  # one or more; see ``Sessions.lanes``
    question: Question
    asked: DetectParams
    clock: StageClock

    def run(self, limits: MediaLimits) -> EngineResult:
        """Look at every frame, one after the other in batches."""
        with self.clock.aside("index"):
            index = index_video(self.item.files.target, limits)
        folder = self.item.context.work_dir
        size = (index.width, index.height)
        labels = self.lanes[0].labels
        exports = Exports(self.asked.export, folder, size=size, labels=labels, many=True)
        log = FrameLog(folder / LOG_NAME)
        try:
            with log, exports, SideBySide(self.lanes, self.question, self.clock) as detector:
                work, files = self._walk(index, detector, log, exports)
        except CanceledError as stop:
            raise CanceledRunError(stop.detail, usage=self._usage(log.frames)) from stop
        listing = OutputFile(log.path, "application/json", LOG_NAME)
        data = {**work.described(), **log.summary()}
        return result(
            self.item.model,
            self.question.size,
            self.clock,
            files=(*files, listing, *exports.files),
            data=data,
            usage=self._usage(work.frames),
        )

    def _usage(self, frames: int) -> UsageReport:
        return usage(
            self.item.model,
            MediaKind.VIDEO,
            frames,
            size=self.question.size,
            clock=self.clock,
            execution=self.lanes[0].execution,
        )

    def _walk(
        self, index: VideoIndex, detector: SideBySide, log: FrameLog, exports: Exports
    ) -> tuple[VideoWork, tuple[OutputFile, ...]]:
        def found_in(frames: Sequence[Frame]) -> list[list[Detection]]:
            answers = detector.detect([frame.pixels for frame in frames])
            for frame, found in zip(frames, answers, strict=True):
                exports.add(f"{log.frames:06d}", found)
                log.add(frame.pts_s, found)
            return answers

        if self.asked.annotate:
            return self._annotate(index, found_in)
        return self._scan(index, found_in), ()

    def _scan(self, index: VideoIndex, found_in: FoundIn) -> VideoWork:
        def look(frames: Sequence[Frame]) -> None:
            found_in(frames)

        return scan_video(
            self.item.files.target,
            index=index,
            look=look,
            batch=_BATCH,
            context=self.item.context,
            segment=self.item.files.segment,
        )

    def _annotate(
        self, index: VideoIndex, found_in: FoundIn
    ) -> tuple[VideoWork, tuple[OutputFile, ...]]:
        painter = Painter(width=index.width, height=index.height)

        def process(frames: Sequence[Frame]) -> list[Frame | Pixels]:
            drawn: list[Frame | Pixels] = []
            for frame, found in zip(frames, found_in(frames), strict=True):
                with self.clock.aside("draw"):
                    drawn.append(painter.draw(frame.pixels, found) if found else frame)
            return drawn

        segment = self.item.files.segment
        encoding = encoding_of(
            self.asked.quality, self.asked.container, in_parts=segment is not None
        )
        suffix = ".mp4" if segment else output_suffix(index, encoding.container)
        path = self.item.context.work_dir / f"annotated{suffix}"
        work = transform_video(
            self.item.files.target,
            path,
            index=index,
            process=label_frames(process, self.asked.label, index),
            batch=_BATCH,
            context=self.item.context,
            encoding=encoding,
            segment=segment,
        )
        return work, (work.file(path, name=path.stem),)
