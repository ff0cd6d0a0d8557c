"""The detect engine: plan, run on a picture, run on a video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from engines.detect.detection import Detection, Detector, Pixels, Question
from engines.detect.drawing import Painter
from engines.detect.models import Size, inference_size, load_detector
from engines.detect.params import DetectParams
from engines.detect.summary import FrameLog
from engines.errors import CanceledError, EngineFaultError
from engines.manifest import Manifest, ModelVersion
from engines.media.decode import Frame
from engines.media.encode import output_container, output_suffix
from engines.media.images import Picture, read_image
from engines.media.index import VideoIndex, index_video
from engines.media.results import save_picture
from engines.media.video import VideoWork, scan_video, transform_video
from engines.metering import StageClock, usage_report
from engines.registry import Services
from engines.spec import (
    CanceledRunError,
    Engine,
    EngineResult,
    InputFiles,
    InputMedia,
    MediaKind,
    OutputFile,
    RunContext,
    UsageReport,
    Work,
)

_BATCH = 4  # frames per network run, where the network takes batches


@dataclass(frozen=True, slots=True)
class _Run:
    """One run's constant facts."""

    model: ModelVersion
    detector: Detector
    question: Question
    annotate: bool
    files: InputFiles
    context: RunContext
    clock: StageClock

    def detect(self, frames: Sequence[Pixels]) -> list[list[Detection]]:
        """Detections of each frame."""
        return self.detector.detect(frames, self.question, self.clock)


class DetectEngine:
    """Objects in a picture or in every frame of a video."""

    params_model: type[BaseModel] = DetectParams

    def __init__(self, services: Services) -> None:
        self._services = services
        self.manifest: Manifest = services.registry.manifest("detect")

    def plan(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> Work:
        """One image, or every frame of the video, at the inference size."""
        size = inference_size(model, _params(params).size)
        target = media.target
        count = 1 if target.kind is MediaKind.IMAGE else target.frames or 0
        return _work(model, target.kind, count, size)

    def run(
        self, model: ModelVersion, params: BaseModel, files: InputFiles, context: RunContext
    ) -> EngineResult:
        """Detect; with ``annotate`` also draw."""
        asked = _params(params)
        size = inference_size(model, asked.size)
        clock = StageClock()
        loaded = load_detector(model, self._services)
        clock.add_cold_start(loaded.cold_start_ms)
        question = Question(
            size=size,
            conf=asked.conf,
            iou=asked.iou,
            max_det=asked.max_det,
            classes=asked.classes,
        )
        run = _Run(model, loaded.value, question, asked.annotate, files, context, clock)
        if files.target_info.kind is MediaKind.VIDEO:
            return self._video(run)
        return self._image(run)

    def _image(self, run: _Run) -> EngineResult:
        run.context.checkpoint()
        with run.clock.aside("decode"):
            picture = read_image(run.files.target, limits=self._services.limits)
        found = run.detect([picture.pixels])[0]
        files: tuple[OutputFile, ...] = ()
        if run.annotate:
            with run.clock.aside("encode"):
                files = (_annotated_image(picture, found, run.context.work_dir),)
        run.context.progress(1, 1, "images")
        data = {
            "predictions": [detection.as_json() for detection in found],
            "width": picture.width,
            "height": picture.height,
        }
        return self._result(run, MediaKind.IMAGE, 1, files=files, data=data)

    def _video(self, run: _Run) -> EngineResult:
        with run.clock.aside("index"):
            index = index_video(run.files.target, self._services.limits)
        log = FrameLog(run.context.work_dir / "detections.json")
        try:
            with log:
                work, files = _walk_video(run, index, log)
        except CanceledError as stop:
            usage = _usage(run, MediaKind.VIDEO, log.frames)
            raise CanceledRunError(stop.detail, usage=usage) from stop
        listing = OutputFile(log.path, "application/json", "detections.json")
        data = {
            **log.summary(),
            "duration_s": round(work.seconds, 6),
            "width": work.width,
            "height": work.height,
            "frames_lost": work.frames_lost,
            "notes": list(work.notes),
        }
        return self._result(run, MediaKind.VIDEO, work.frames, files=(*files, listing), data=data)

    def _result(
        self,
        run: _Run,
        kind: MediaKind,
        count: int,
        *,
        files: tuple[OutputFile, ...],
        data: Mapping[str, Any],
    ) -> EngineResult:
        weights = [file.sha256 for file in run.model.weights]
        facts = {
            "model": run.model.id,
            "weights_sha256": weights[0] if weights else None,
            "img_size": list(run.question.size),
            "timing_ms": {name: round(ms, 3) for name, ms in run.clock.asides_ms.items()},
        }
        return EngineResult(files=files, data={**data, **facts}, usage=_usage(run, kind, count))


def create(services: Services) -> Engine:
    """The engine; loads nothing yet."""
    return DetectEngine(services)


def _params(params: BaseModel) -> DetectParams:
    if not isinstance(params, DetectParams):
        message = f"detect takes DetectParams, got {type(params).__name__}"
        raise EngineFaultError(message)
    return params


def _work(model: ModelVersion, kind: MediaKind, count: int, size: Size) -> Work:
    quantity = "images" if kind is MediaKind.IMAGE else "frames"
    return Work(
        quantities={quantity: count, "input_pixels": size[0] * size[1]},
        attributes={"media": kind.value, "model": model.name},
    )


def _usage(run: _Run, kind: MediaKind, count: int) -> UsageReport:
    return usage_report(
        run.clock,
        work=_work(run.model, kind, count, run.question.size),
        model=run.model,
        execution=run.detector.execution,
    )


def _annotated_image(picture: Picture, found: list[Detection], folder: Path) -> OutputFile:
    painter = Painter(width=picture.width, height=picture.height)
    drawn = replace(picture, pixels=painter.draw(picture.pixels, found))
    return save_picture(drawn, folder, stem="annotated", name="annotated")


def _walk_video(
    run: _Run, index: VideoIndex, log: FrameLog
) -> tuple[VideoWork, tuple[OutputFile, ...]]:
    if run.annotate:
        return _annotate_video(run, index, log)
    return _scan_video(run, index, log), ()


def _scan_video(run: _Run, index: VideoIndex, log: FrameLog) -> VideoWork:
    def look(frames: Sequence[Frame]) -> None:
        for frame, found in zip(frames, run.detect([each.pixels for each in frames]), strict=True):
            log.add(frame.pts_s, found)

    return scan_video(run.files.target, index=index, look=look, batch=_BATCH, context=run.context)


def _annotate_video(
    run: _Run, index: VideoIndex, log: FrameLog
) -> tuple[VideoWork, tuple[OutputFile, ...]]:
    painter = Painter(width=index.width, height=index.height)

    def process(frames: Sequence[Frame]) -> list[Pixels]:
        drawn = []
        for frame, found in zip(frames, run.detect([each.pixels for each in frames]), strict=True):
            log.add(frame.pts_s, found)
            with run.clock.aside("draw"):
                drawn.append(painter.draw(frame.pixels, found))
        return drawn

    path = run.context.work_dir / f"annotated{output_suffix(index)}"
    work = transform_video(
        run.files.target,
        path,
        index=index,
        process=process,
        batch=_BATCH,
        context=run.context,
    )
    return work, (OutputFile(path, output_container(index).media_type, path.name),)
