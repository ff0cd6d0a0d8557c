"""The detect engine: plan, run one picture or video, run many pictures together."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain

from pydantic import BaseModel

from engines.detect.classes import check_classes
from engines.detect.joining import join_parts
from engines.detect.models import inference_size, load_detector, load_lanes
from engines.detect.params import DetectParams, typed
from engines.detect.pictures import Begun, Lane, PictureRuns, picture_key
from engines.detect.report import work_of
from engines.detect.videos import VideoRun
from engines.manifest import Manifest, ModelVersion
from engines.many import run_alone
from engines.media.delivery import check_delivery
from engines.media.frames import check_single
from engines.media.label import check_label
from engines.metering import StageClock
from engines.overlap import Stages, run_overlapped
from engines.registry import Services
from engines.runners.base import Runner
from engines.spec import (
    Engine,
    EngineResult,
    InputFiles,
    InputMedia,
    MediaKind,
    Outcome,
    RunContext,
    RunItem,
    Work,
)

_STEP = 8  # pictures per network run, where it takes batches and has the device to itself


class DetectEngine:
    """Objects in a picture or in every frame of a video."""

    params_model: type[BaseModel] = DetectParams

    def __init__(self, services: Services) -> None:
        self._services = services
        self.manifest: Manifest = services.registry.manifest("detect")

    def plan(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> Work:
        """One image, or every frame of the video, at the inference size."""
        asked, target = typed(params), media.target
        check_single(target, first_frame=asked.first_frame)
        is_video = target.kind is MediaKind.VIDEO
        gives_video = is_video and asked.annotate
        check_delivery(asked.quality, asked.container, gives_video=gives_video)
        check_label(asked.label, gives_picture=asked.annotate)
        size = inference_size(model, asked.size)
        count = target.frames or 0 if is_video else 1
        return work_of(model, target.kind, count, size)

    def run(
        self, model: ModelVersion, params: BaseModel, files: InputFiles, context: RunContext
    ) -> EngineResult:
        """Detect; with ``annotate`` also draw."""
        asked, item = typed(params), RunItem(model, params, files, context)
        question = asked.question(inference_size(model, asked.size))
        clock = StageClock()
        if files.target_info.kind is MediaKind.VIDEO:
            lanes = load_lanes(model, self._services)
            clock.add_cold_start(lanes.cold_start_ms)
            return VideoRun(item, lanes.value, question, asked, clock).run(self._services.limits)
        loaded = load_detector(model, self._services)
        clock.add_cold_start(loaded.cold_start_ms)
        runs = PictureRuns(
            loaded.value, self._services.limits, picture_key(model, asked, item.media)
        )
        begun = runs.prepare(item, clock)
        [raw] = loaded.value.infer([begun.ready])
        return runs.finish(begun, raw)

    def overlap(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> int | None:  # noqa: ARG002 - see there
        """Every frame is seen alone; see ``SegmentedEngine``."""
        return 0 if media.target.kind is MediaKind.VIDEO else None

    def joined(
        self,
        model: ModelVersion,
        params: BaseModel,
        files: InputFiles,
        parts: Sequence[EngineResult],
        context: RunContext,
    ) -> EngineResult:
        """One video, one log, one export of each kind; see ``SegmentedEngine``."""
        item = RunItem(model, params, files, context)
        return join_parts(item, typed(params), parts, self._services.limits)

    def batch_key(
        self, model: ModelVersion, params: BaseModel, media: InputMedia
    ) -> Hashable | None:
        """Pictures of one model version and inference size; see ``BatchEngine``."""
        return picture_key(model, typed(params), media)

    def run_many(self, items: Iterable[RunItem]) -> Iterator[Outcome]:
        """Decode, infer and finish at the same time; see ``BatchEngine``."""
        source = iter(items)
        first = next(source, None)
        if first is None:
            return
        second = next(source, None)
        if second is None:  # in no company all threads work on it
            yield run_alone(self, first)
            return
        source = chain([second], source)
        clock = StageClock()  # of the first item, which the load belongs to
        try:
            loaded = load_lanes(first.model, self._services)
            key = picture_key(first.model, typed(first.params), first.media)
        except Exception as error:  # noqa: BLE001 - it is the outcome of every item
            yield from (error for _ in chain([first], source))
            return
        lanes = loaded.value
        runs = PictureRuns(lanes[0], self._services.limits, key)
        clock.add_cold_start(loaded.cold_start_ms)

        def prepare(item: RunItem) -> Begun:
            return runs.prepare(item, clock if item is first else StageClock())

        stages = Stages(
            prepare=prepare,
            lanes=[Lane(detector, len(lanes)) for detector in lanes],
            finish=runs.finish,
            step=_STEP if lanes[0].takes_batches else 1,
        )
        threads = self._services.sessions.threads
        yield from run_overlapped(chain([first], source), stages, threads=threads)

    def judge_weights(self, model: ModelVersion, runner: Runner) -> None:
        """Whether the network gives a number for every class it names; see ``WeightsJudge``."""
        check_classes(model, runner)


def create(services: Services) -> Engine:
    """The engine; loads nothing yet."""
    return DetectEngine(services)
