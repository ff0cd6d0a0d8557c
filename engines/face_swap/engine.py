"""The ``face-swap`` engine: source faces onto the faces of a picture or a video."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from engines.errors import InvalidInputError
from engines.face_swap.casting import cast
from engines.face_swap.joining import join_parts
from engines.face_swap.loading import check_swaps, load_tools, pixel_boost, tells_persons_apart
from engines.face_swap.networks import Networks
from engines.face_swap.params import Faces, FaceSwapParams, typed
from engines.face_swap.people import People
from engines.face_swap.pictures import PictureRun
from engines.face_swap.report import picture_work, planned_video_work
from engines.face_swap.timing import LaneClock
from engines.face_swap.tools import Tools
from engines.face_swap.videos import LEAD_IN, VideoRun, load_lanes
from engines.faces.face import Pixels
from engines.manifest import Manifest, ModelVersion
from engines.media.delivery import check_delivery
from engines.media.frames import check_single
from engines.media.images import read_image
from engines.metering import StageClock
from engines.registry import Services
from engines.spec import (
    EngineResult,
    InputFiles,
    InputMedia,
    MediaKind,
    RunContext,
    RunItem,
    Work,
)


def create(services: Services) -> "FaceSwap":
    """Make the engine; nothing is loaded before the first run."""
    return FaceSwap(services)


class FaceSwap:
    """Pictures of faces and a target in, the target with other faces out; see README.md."""

    params_model: type[BaseModel] = FaceSwapParams

    def __init__(self, services: Services) -> None:
        self.manifest: Manifest = services.registry.manifest("face-swap")
        self._services = services

    def plan(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> Work:
        """Say the most this job can be: as many faces as the parameters allow."""
        wanted, target = typed(params), media.target
        check_swaps(model)
        pixel_boost(model, wanted)
        for each in media.sources:
            if each.kind is not MediaKind.IMAGE:
                message = "a source is a picture of a face, not a video; send a frame of it"
                raise InvalidInputError(message, code="unsupported_media")
            check_single(each)
        who = cast(wanted, pictures=len(media.sources))
        check_single(target, first_frame=wanted.first_frame)
        is_video = target.kind is MediaKind.VIDEO
        check_delivery(wanted.quality, wanted.container, gives_video=is_video)
        if is_video:
            return planned_video_work(model, wanted, target, most_faces=who.most_faces)
        size = target.width, target.height
        return picture_work(model, wanted, size=size, faces=who.most_faces)

    def run(
        self, model: ModelVersion, params: BaseModel, files: InputFiles, context: RunContext
    ) -> EngineResult:
        """Swap, and say which faces.

        Raises:
            InvalidInputError: ``no_face_found``, ``no_such_face``, ``no_matching_face``,
                ``several_source_faces``, ``face_blocked`` or ``face_unusable``.
            WeightsError: a file that this run needs is not on this machine.
        """
        wanted, item = typed(params), RunItem(model, params, files, context)
        who = cast(wanted, pictures=len(files.sources))
        clock = StageClock()
        tools = load_tools(Networks(self._services, model, LaneClock(clock)), wanted)
        people = self._people(files.sources, tools, context)
        limits = self._services.limits
        if files.target_info.kind is MediaKind.VIDEO:
            lanes = load_lanes(self._services, model, wanted, clock)
            return VideoRun(item, who, tools, lanes, people).run(limits)
        return PictureRun(item, who, tools, people).run(limits)

    def overlap(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> int | None:
        """A few frames to find the faces and to steady them; see ``SegmentedEngine``.

        Where persons cannot be told apart, ``faces`` one depends on every frame before.
        """
        wanted = typed(params)
        if media.target.kind is not MediaKind.VIDEO:
            return None
        is_alone = wanted.faces is Faces.ONE and wanted.mapping is None
        if is_alone and not tells_persons_apart(self._services.registry, model):
            return None
        return LEAD_IN

    def joined(
        self,
        model: ModelVersion,
        params: BaseModel,
        files: InputFiles,
        parts: Sequence[EngineResult],
        context: RunContext,
    ) -> EngineResult:
        """One video, frames counted through; see ``SegmentedEngine``."""
        return join_parts(RunItem(model, params, files, context), parts, self._services.limits)

    def _people(self, sources: Sequence[Path], tools: Tools, context: RunContext) -> People:
        def read(path: Path) -> Pixels:
            with tools.clock.clock.aside("decode"):
                return read_image(path, limits=self._services.limits).pixels

        return People(sources, read, tools, context)
