"""Detection on single pictures, stage by stage: decode, infer, draw and tell."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from engines.detect.detection import Detection, Question
from engines.detect.detector import Detector, Raw, Ready
from engines.detect.drawing import Painter
from engines.detect.exports import Exports
from engines.detect.models import inference_size
from engines.detect.params import DetectParams, typed
from engines.detect.report import result, usage
from engines.errors import EngineFaultError
from engines.manifest import ModelVersion
from engines.media.images import Picture, read_image
from engines.media.label import label_picture
from engines.media.limits import MediaLimits
from engines.media.results import save_picture
from engines.metering import StageClock
from engines.spec import (
    EngineResult,
    InputMedia,
    MediaKind,
    OutputFile,
    RunItem,
)


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A picture on its way."""

    item: RunItem
    asked: DetectParams
    question: Question
    clock: StageClock
    picture: Picture
    ready: Ready


def picture_key(model: ModelVersion, params: DetectParams, media: InputMedia) -> Hashable | None:
    """Pictures of one model version and inference size may run together; videos run alone."""
    if media.target.kind is not MediaKind.IMAGE:
        return None
    weights = tuple(file.sha256 for file in model.weights)
    return (model.id, weights, inference_size(model, params.size))


class PictureRuns:
    """The stages of the pictures of one key; ``prepare`` and ``finish`` on any thread."""

    def __init__(self, detector: Detector, limits: MediaLimits, key: Hashable | None) -> None:
        self._detector = detector
        self._limits = limits
        self._key = key

    def prepare(self, item: RunItem, clock: StageClock) -> Begun:
        """Read a picture and lay it out for the network."""
        item.context.checkpoint()
        asked = typed(item.params)
        key = picture_key(item.model, asked, item.media)
        if key is None or key != self._key:
            raise EngineFaultError(f"items of different keys do not run together: {key}")
        question = asked.question(inference_size(item.model, asked.size))
        with clock.aside("decode"):
            picture = read_image(
                item.files.target, limits=self._limits, first_frame=asked.first_frame
            )
        with clock.aside("preprocess"):
            ready = self._detector.prepare(picture.pixels, question.size)
        item.context.checkpoint()
        return Begun(item, asked, question, clock, picture, ready)

    def finish(self, begun: Begun, raw: Raw) -> EngineResult:
        """Read the network's answer, draw what was asked for, write the report."""
        clock, picture, context = begun.clock, begun.picture, begun.item.context
        clock.add("infer", raw.elapsed_ms)
        with clock.aside("postprocess"):
            found = self._detector.read(raw, begun.ready, begun.question)
        with clock.aside("encode"):
            files = self._files(begun, found)
        context.progress(1, 1, "images")
        data = {
            "predictions": [detection.as_json() for detection in found],
            "width": picture.width,
            "height": picture.height,
        }
        report = usage(
            begun.item.model,
            MediaKind.IMAGE,
            1,
            size=begun.question.size,
            clock=clock,
            execution=self._detector.execution,
        )
        return result(
            begun.item.model, begun.question.size, clock, files=files, data=data, usage=report
        )

    def _files(self, begun: Begun, found: Sequence[Detection]) -> tuple[OutputFile, ...]:
        """What was asked for besides the answer."""
        picture, folder = begun.picture, begun.item.context.work_dir
        exports = Exports(
            begun.asked.export,
            folder,
            size=(picture.width, picture.height),
            labels=self._detector.labels,
            many=False,
        )
        with exports:
            exports.add(begun.item.files.target.name, found)
        if not begun.asked.annotate:
            return exports.files
        painter = Painter(width=picture.width, height=picture.height)
        drawn = replace(picture, pixels=painter.draw(picture.pixels, found))
        labelled = label_picture(drawn, begun.asked.label)
        file = save_picture(labelled, folder, stem="annotated", name="annotated")
        return (file, *exports.files)


@dataclass(frozen=True, slots=True)
class Lane:
    """Runs the network of one lane.

    Networks side by side on one thread each take longer per call; such a call counts with its
    share of the threads, so that a picture costs no more in company than alone.
    """

    detector: Detector
    lanes: int

    def __call__(self, begun: Sequence[Begun]) -> list[Raw]:
        """The network's answers."""
        raws = self.detector.infer([each.ready for each in begun])
        return [replace(raw, elapsed_ms=raw.elapsed_ms / self.lanes) for raw in raws]
