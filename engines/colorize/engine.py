"""The ``colorize`` engine: colour for black-and-white pictures and videos, light untouched."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain

from pydantic import BaseModel

from engines.colorize.joining import join_parts
from engines.colorize.kinds import precise, preferred_model, seen_model
from engines.colorize.looking import Looker
from engines.colorize.painters import load_lanes, load_painter
from engines.colorize.params import ColorizeParams, Kind, typed
from engines.colorize.pictures import Begun, Lane, PictureRuns
from engines.colorize.report import picture_work, video_work
from engines.colorize.videos import VideoRun, lead_in
from engines.errors import InvalidInputError
from engines.manifest import Manifest, ModelVersion
from engines.media.delivery import check_delivery
from engines.media.frames import check_single
from engines.metering import StageClock
from engines.overlap import Stages, run_overlapped
from engines.registry import Services
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

OUTPUT_PIXELS_MAX = 64_000_000  # after enlarging
_STEP = 4  # pictures per network run, where it takes batches and has the device to itself


def create(services: Services) -> Engine:
    """Make the engine; nothing is loaded before the first run."""
    return Colorize(services)


class Colorize:
    """A picture in, the same picture in colour out; see README.md for the models."""

    params_model: type[BaseModel] = ColorizeParams

    def __init__(self, services: Services) -> None:
        self.manifest: Manifest = services.registry.manifest("colorize")
        self._services = services
        self._looker = Looker(services)
        self._pictures = PictureRuns(services, self._looker)

    def preferred_model(self, params: BaseModel) -> str | None:
        """The model of a stated type, for jobs that name none; see ``ModelChooser``."""
        return preferred_model(self._services.registry, typed(params).type)

    def plan(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> Work:
        """Say the most this job can be; ``auto`` counts as the dearer ``building``."""
        wanted = typed(params)
        target = media.target
        if media.sources:
            message = "colorize takes one picture or video and no source; leave input.source out"
            raise InvalidInputError(message, code="wrong_source_count")
        check_single(target, first_frame=wanted.first_frame)
        is_video = target.kind is MediaKind.VIDEO
        check_delivery(wanted.quality, wanted.container, gives_video=is_video)
        for seen in _KINDS:  # whatever will be seen, it must be there
            self._model_of(model, wanted, seen)
        kind = Kind.BUILDING if wanted.type is Kind.AUTO else wanted.type
        size = (target.width, target.height)
        if is_video:
            _check_video(wanted)
            return video_work(model, kind=kind, frames=target.frames or 0, size=size)
        self._check_size(*size, wanted)
        return picture_work(model, wanted, kind=kind, size=size)

    def run(
        self, model: ModelVersion, params: BaseModel, files: InputFiles, context: RunContext
    ) -> EngineResult:
        """Colour the picture and say what was believed to be seen."""
        item, clock = RunItem(model, params, files, context), StageClock()
        asked = typed(params)
        if files.target_info.kind is MediaKind.VIDEO:
            return self._run_video(item, clock)
        seen = self._pictures.see(item, clock)
        self._check_size(seen.scan.rows.width, seen.scan.rows.height, asked)
        chosen = self._model_of(model, asked, seen.looked.kind)
        loaded = load_painter(chosen, self._services)
        clock.add_cold_start(loaded.cold_start_ms)
        begun = self._pictures.begin(seen, chosen, loaded.value)
        [painted] = loaded.value.paint([begun.subject], tile=asked.tile_size)
        return self._pictures.finish(begun, painted, loaded.value)

    def _run_video(self, item: RunItem, clock: StageClock) -> EngineResult:
        asked, registry = typed(item.params), self._services.registry
        _check_video(asked)
        video = VideoRun.look(item, self._looker, clock, self._services.limits)
        chosen = self._model_of(item.model, asked, video.looked.kind)
        loaded = load_lanes(chosen, self._services)
        clock.add_cold_start(loaded.cold_start_ms)
        return video.run(chosen, loaded.value, registry)

    def overlap(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> int | None:  # noqa: ARG002 - see there
        """Enough frames for the smoothing to settle; see ``SegmentedEngine``."""
        return lead_in(typed(params)) if media.target.kind is MediaKind.VIDEO else None

    def joined(
        self,
        model: ModelVersion,
        params: BaseModel,
        files: InputFiles,
        parts: Sequence[EngineResult],
        context: RunContext,
    ) -> EngineResult:
        """One video in colour, with the figures of all parts; see ``SegmentedEngine``."""
        item = RunItem(model, params, files, context)
        return join_parts(item, parts, self._services.limits)

    def batch_key(
        self, model: ModelVersion, params: BaseModel, media: InputMedia
    ) -> Hashable | None:
        """Pictures of one model, unless what is seen may change the model; see ``BatchEngine``."""
        asked = typed(params)
        if media.target.kind is not MediaKind.IMAGE:
            return None
        registry = self._services.registry
        if any(seen_model(registry, model, asked, kind) != model for kind in _KINDS):
            return None
        weights = tuple(file.sha256 for file in model.weights)
        return (model.id, weights, asked.tile_size, asked.fp16)

    def _model_of(self, model: ModelVersion, wanted: ColorizeParams, kind: Kind) -> ModelVersion:
        """What runs for what was seen, in the precision asked for."""
        registry = self._services.registry
        seen = seen_model(registry, model, wanted, kind)
        return precise(registry, seen, fp16=wanted.fp16)

    def run_many(self, items: Iterable[RunItem]) -> Iterator[Outcome]:
        """Decode, infer and finish at the same time; see ``BatchEngine``."""
        source = iter(items)
        first = next(source, None)
        if first is None:
            return
        clock = StageClock()  # of the first item, which the load belongs to
        try:
            asked = typed(first.params)
            chosen = precise(self._services.registry, first.model, fp16=asked.fp16)
            loaded = load_lanes(chosen, self._services)
        except Exception as error:  # noqa: BLE001 - it is the outcome of every item
            yield from (error for _ in chain([first], source))
            return
        painters = loaded.value
        clock.add_cold_start(loaded.cold_start_ms)

        def prepare(item: RunItem) -> Begun:
            seen = self._pictures.see(item, clock if item is first else StageClock())
            rows = seen.scan.rows
            self._check_size(rows.width, rows.height, seen.asked)
            return self._pictures.begin(seen, chosen, painters[0])

        stages = Stages(
            prepare=prepare,
            lanes=[Lane(painter, asked.tile_size, len(painters)) for painter in painters],
            finish=lambda begun, painted: self._pictures.finish(begun, painted, painters[0]),
            step=_STEP if painters[0].takes_batches else 1,
        )
        threads = self._services.sessions.threads
        yield from run_overlapped(chain([first], source), stages, threads=threads)

    def _check_size(self, width: int, height: int, wanted: ColorizeParams) -> None:
        factor, side_max = wanted.upscale, self._services.limits.max_image_side
        sizes = {"upscale": (width * factor, height * factor)} if factor > 1 else {}
        if wanted.sizing is not None:
            sizes["output_size"] = (wanted.sizing.width, wanted.sizing.height)
        for name, size in sizes.items():
            if size[0] * size[1] > OUTPUT_PIXELS_MAX or max(size) > side_max:
                message = (
                    f"{name} would make {size[0]}x{size[1]} pixels; at most {OUTPUT_PIXELS_MAX} "
                    f"pixels and {side_max} per side are made: ask for a smaller result"
                )
                raise InvalidInputError(message, code="image_too_large")


def _check_video(asked: ColorizeParams) -> None:
    if asked.upscale > 1 or asked.denoise or asked.scratch or asked.output_size:
        message = (
            "upscale, denoise, scratch and output_size are for pictures; leave them out for a video"
        )
        raise InvalidInputError(message, code="option_unsupported")


_KINDS = (Kind.PERSON, Kind.BUILDING)
