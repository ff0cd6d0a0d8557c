"""The ``colorize`` engine: colour for black-and-white pictures, light untouched."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel

from engines.colorize import skin, tiny, upscale
from engines.colorize.builtin import paint
from engines.colorize.chroma import Colour, Light, Pixels, guided_lines, join, lightness
from engines.colorize.params import ColorizeParams, Kind
from engines.errors import EngineFaultError, InvalidInputError
from engines.faces.choice import face_detector
from engines.faces.face import Face
from engines.manifest import Manifest, ModelVersion
from engines.media.images import read_image
from engines.media.results import save_picture
from engines.metering import Execution, StageClock, usage_report
from engines.registry import Services
from engines.runners.base import Runner
from engines.spec import (
    EngineResult,
    InputFiles,
    InputMedia,
    MediaKind,
    RunContext,
    Work,
)

OUTPUT_PIXELS_MAX = 64_000_000  # after enlarging; about 200 MB in memory


def create(services: Services) -> "Colorize":
    """Make the engine; nothing is loaded before the first run."""
    return Colorize(services)


class Colorize:
    """A picture in, the same picture in colour out; see README.md for the models."""

    params_model: type[BaseModel] = ColorizeParams

    def __init__(self, services: Services) -> None:
        self.manifest: Manifest = services.registry.manifest("colorize")
        self._services = services

    def plan(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> Work:
        """Say the most this job can be; ``auto`` counts as the dearer ``building``."""
        wanted = _typed(params)
        target = media.target
        if target.kind is not MediaKind.IMAGE or media.sources:
            message = "colorize takes one picture only for now; send a JPEG, PNG or WebP picture"
            raise InvalidInputError(message, code="unsupported_media")
        if wanted.fp16:
            message = "half precision needs a GPU, and none is set up here; send fp16 false"
            raise InvalidInputError(message, code="precision_unavailable")
        self._check_size(target.width, target.height, wanted.upscale)
        kind = Kind.BUILDING if wanted.type is Kind.AUTO else wanted.type
        return _work(model, wanted, kind=kind, size=(target.width, target.height))

    def run(
        self, model: ModelVersion, params: BaseModel, files: InputFiles, context: RunContext
    ) -> EngineResult:
        """Colour the picture and say what was believed to be seen."""
        wanted = _typed(params)
        clock = StageClock()
        with clock.aside("decode"):
            picture = read_image(files.target, limits=self._services.limits)
        self._check_size(picture.width, picture.height, wanted.upscale)
        context.checkpoint()
        looked = self._look(model, picture.pixels, wanted.type, clock)
        drawn = self._draw(model, picture.pixels, looked.faces, wanted, clock)
        context.progress(1, 2, "steps")
        context.checkpoint()
        with clock.stage("infer"):
            pixels = join(picture.pixels, guided_lines(drawn.light, drawn.colour))
        alpha = picture.alpha
        if wanted.upscale > 1:
            with clock.stage("upscale"):
                pixels = upscale.enlarge(pixels, wanted.upscale)
                alpha = None if alpha is None else upscale.enlarge(alpha, wanted.upscale)
        with clock.aside("encode"):
            whole = replace(picture, pixels=pixels, alpha=alpha)
            name = f"{files.target.stem}-colorized"
            file = save_picture(whole, context.work_dir, stem="colorized", name=name)
        context.progress(2, 2, "steps")
        work = _work(model, wanted, kind=looked.kind, size=(picture.width, picture.height))
        data = {
            "model": model.id,
            "type": looked.kind.value,
            "detector": looked.detector,
            "faces_found": len(looked.faces),
            "skin": skin.NAME if looked.faces else None,
            "upscaler": upscale.NAME if wanted.upscale > 1 else None,
            "input_size": drawn.size,
            "was_grey": picture.is_grey,
            "width": whole.width,
            "height": whole.height,
        }
        usage = usage_report(clock, work=work, model=model, execution=drawn.execution)
        return EngineResult(files=(file,), data=data, usage=usage)

    def _check_size(self, width: int, height: int, factor: int) -> None:
        pixels, side = width * height * factor**2, max(width, height) * factor
        if factor > 1 and (
            pixels > OUTPUT_PIXELS_MAX or side > self._services.limits.max_image_side
        ):
            message = (
                f"upscale {factor} would make {width * factor}x{height * factor} pixels; at most "
                f"{OUTPUT_PIXELS_MAX} pixels and {self._services.limits.max_image_side} per side "
                "are made: use a smaller upscale"
            )
            raise InvalidInputError(message, code="image_too_large")

    def _look(
        self, model: ModelVersion, pixels: Pixels, kind: Kind, clock: StageClock
    ) -> "_Looked":
        """Find faces unless the caller says it is a building."""
        if kind is Kind.BUILDING:
            return _Looked(kind=kind, faces=(), detector=None)
        detector = face_detector(self._services, model)
        clock.add_cold_start(detector.cold_start_ms)
        with clock.stage("detect"):
            faces = detector.value.detect(pixels)
        if kind is Kind.AUTO:
            kind = Kind.PERSON if faces else Kind.BUILDING
        return _Looked(kind=kind, faces=tuple(faces), detector=detector.value.name)

    def _draw(
        self,
        model: ModelVersion,
        pixels: Pixels,
        faces: Sequence[Face],
        wanted: ColorizeParams,
        clock: StageClock,
    ) -> "_Drawn":
        size = wanted.input_size or _own_size(model)
        if model.runner == "opencv":
            with clock.stage("infer"):
                light = _fitted_light(pixels, size)
                colour = paint(light, _scaled(faces, pixels, light))
            return _Drawn(light, colour, size=size, execution=Execution.opencv())
        loaded = self._services.sessions.runner(self._services.registry.weights_path(model))
        clock.add_cold_start(loaded.cold_start_ms)
        with clock.stage("infer"):
            light, colour = _predicted(loaded.value, pixels, faces, size, wanted.tile_size)
        return _Drawn(light, colour, size=size, execution=Execution.of(loaded.value))


@dataclass(frozen=True, slots=True)
class _Looked:
    kind: Kind  # person or building
    faces: tuple[Face, ...]
    detector: str | None  # None: nobody looked


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    light: Light
    colour: Colour
    size: int
    execution: Execution


def _predicted(
    runner: Runner, pixels: Pixels, faces: Sequence[Face], size: int, tile: int | None
) -> tuple[Light, Colour]:
    """The network's colours; skin, which it hardly knows, comes from the faces."""
    light, colour = tiny.predict(runner, pixels, size=size, tile=tile)
    small = _scaled(faces, pixels, light)
    weights = skin.skin_map(light, small)[..., None]
    colour += (skin.skin_colour(light, small) - colour) * weights
    return light, colour


def _fitted_light(pixels: Pixels, size: int) -> Light:
    """Lightness with the longer side at most ``size`` pixels."""
    import cv2

    ratio = min(1.0, size / max(pixels.shape[:2]))
    if ratio == 1.0:
        return lightness(pixels)
    shape = max(1, round(pixels.shape[1] * ratio)), max(1, round(pixels.shape[0] * ratio))
    small = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    return lightness(np.asarray(small, dtype=np.uint8))


def _scaled(faces: Sequence[Face], pixels: Pixels, light: Light) -> list[Face]:
    """The faces in pixels of the small picture."""
    x = light.shape[1] / pixels.shape[1]
    y = light.shape[0] / pixels.shape[0]
    return [
        Face(
            box=(face.box[0] * x, face.box[1] * y, face.box[2] * x, face.box[3] * y),
            points=face.points * np.array([x, y]),
            score=face.score,
        )
        for face in faces
    ]


def _own_size(model: ModelVersion) -> int:
    size = model.options.get("input_size")
    if not isinstance(size, int):
        raise EngineFaultError(f"{model.id} does not say its input_size in engine.toml")
    return size


def _work(
    model: ModelVersion, wanted: ColorizeParams, *, kind: Kind, size: tuple[int, int]
) -> Work:
    width, height = size
    return Work(
        quantities={
            "images": 1,
            "megapixels": width * height / 1_000_000,
            "upscaled": int(wanted.upscale > 1),
        },
        attributes={
            "media": MediaKind.IMAGE.value,
            "model": model.name,
            "type": kind.value,
            "width": width,
            "height": height,
        },
    )


def _typed(params: BaseModel) -> ColorizeParams:
    if not isinstance(params, ColorizeParams):
        raise TypeError(f"colorize runs on ColorizeParams, not {type(params).__name__}")
    return params
