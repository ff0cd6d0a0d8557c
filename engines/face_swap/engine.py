"""The ``face-swap`` engine: a source face onto the faces of a target picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from engines.errors import InvalidInputError
from engines.face_swap import detail
from engines.face_swap.classical import Layer, compose, lay
from engines.face_swap.params import FaceSwapParams
from engines.face_swap.selection import choose, most_faces
from engines.faces.choice import face_detector
from engines.faces.face import Face, FaceDetector, Pixels
from engines.faces.geometry import UnusableFaceError
from engines.manifest import Manifest, ModelVersion
from engines.media.frames import check_single
from engines.media.images import read_image
from engines.media.results import save_picture
from engines.metering import Execution, StageClock, usage_report
from engines.registry import Services
from engines.spec import (
    EngineResult,
    InputFiles,
    InputMedia,
    MediaKind,
    RunContext,
    Work,
)

SOURCES_MAX = 8


def create(services: Services) -> "FaceSwap":
    """Make the engine; nothing is loaded before the first run."""
    return FaceSwap(services)


class FaceSwap:
    """Pictures in, picture out; see README.md for what the classical model can and cannot do."""

    params_model: type[BaseModel] = FaceSwapParams

    def __init__(self, services: Services) -> None:
        self.manifest: Manifest = services.registry.manifest("face-swap")
        self._services = services

    def plan(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> Work:
        """Say the most this job can be: as many faces as the parameters allow."""
        wanted = _typed(params)
        for each in (media.target, *media.sources):
            if each.kind is not MediaKind.IMAGE:
                message = "face-swap takes pictures only for now; send a JPEG, PNG or WebP picture"
                raise InvalidInputError(message, code="unsupported_media")
        if not 1 <= len(media.sources) <= SOURCES_MAX:
            message = f"send 1 to {SOURCES_MAX} source pictures, not {len(media.sources)}"
            raise InvalidInputError(message, code="wrong_source_count")
        check_single(media.target, first_frame=wanted.first_frame)
        for each in media.sources:
            check_single(each)
        size = media.target.width, media.target.height
        return _work(model, wanted, size=size, faces=most_faces(wanted))

    def run(
        self, model: ModelVersion, params: BaseModel, files: InputFiles, context: RunContext
    ) -> EngineResult:
        """Swap, and say which faces.

        Raises:
            InvalidInputError: ``no_face_found``, ``no_such_face`` or ``face_unusable``.
        """
        wanted = _typed(params)
        clock = StageClock()
        detector = face_detector(self._services, model)
        clock.add_cold_start(detector.cold_start_ms)
        with clock.aside("decode"):
            target = read_image(
                files.target, limits=self._services.limits, first_frame=wanted.first_frame
            )
        with clock.stage("detect"):
            found = detector.value.detect(target.pixels)
        chosen = choose(found, wanted)
        source = self._find_source(files.sources, detector.value, clock)
        context.checkpoint()
        pixels = target.pixels.copy()
        swapped, skipped = _swap_all(
            pixels, chosen, source, wanted=wanted, clock=clock, context=context
        )
        with clock.aside("encode"):
            whole, name = replace(target, pixels=pixels), f"{files.target.stem}-swapped"
            file = save_picture(whole, context.work_dir, stem="swapped", name=name)
        size = target.width, target.height
        work = _work(model, wanted, size=size, faces=len(swapped))
        data = {
            "model": model.id,
            "detector": detector.value.name,
            "enhancer": detail.NAME if wanted.enhance_level in detail.GAINS else None,
            "faces_found": len(found),
            "faces": [face.describe() for face in swapped],
            "faces_skipped": [face.describe() for face in skipped],
            "source": source.describe(),
            "width": target.width,
            "height": target.height,
        }
        usage = usage_report(clock, work=work, model=model, execution=Execution.opencv())
        return EngineResult(files=(file,), data=data, usage=usage)

    def _find_source(
        self, paths: Sequence[Path], detector: FaceDetector, clock: StageClock
    ) -> "_Source":
        """Return the largest face of the first source that has one."""
        for index, path in enumerate(paths):
            with clock.aside("decode"):
                picture = read_image(path, limits=self._services.limits)
            with clock.stage("detect"):
                faces = detector.detect(picture.pixels)
            if faces:
                largest = max(faces, key=lambda face: face.area)
                return _Source(picture.pixels, largest, index=index, faces_found=len(faces))
        which = "the source" if len(paths) == 1 else f"any of the {len(paths)} sources"
        raise InvalidInputError(
            f"no face was found in {which}; send a sharp picture of one face, seen from the front",
            code="no_face_found",
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    pixels: Pixels
    face: Face
    index: int  # which of the sources
    faces_found: int  # in that picture; the largest is taken

    def describe(self) -> dict[str, Any]:
        return {"index": self.index, "faces_found": self.faces_found, **self.face.describe()}


def _swap_all(
    pixels: Pixels,
    chosen: Sequence[Face],
    source: _Source,
    *,
    wanted: FaceSwapParams,
    clock: StageClock,
    context: RunContext,
) -> tuple[list[Face], list[Face]]:
    """Swap the chosen faces in place; return those swapped and those that cannot be.

    Raises:
        UnusableFaceError: Not one of the faces can be swapped.
    """
    swapped: list[Face] = []
    skipped: list[Face] = []
    reason: UnusableFaceError | None = None
    for done, face in enumerate(chosen, start=1):
        context.checkpoint()
        try:
            with clock.stage("swap"):
                layer = lay(pixels, face, source.pixels, source.face, mask=wanted.mask)
        except UnusableFaceError as error:
            skipped.append(face)
            reason = error
        else:
            if wanted.enhance_level in detail.GAINS:
                with clock.stage("enhance"):
                    layer = _enhance(layer, face, level=wanted.enhance_level)
            with clock.stage("blend"):
                compose(pixels, layer, blend=wanted.blend)
            swapped.append(face)
        context.progress(done, len(chosen), "faces")
    if not swapped and reason is not None:
        raise reason
    return swapped, skipped


def _enhance(layer: Layer, face: Face, *, level: int) -> Layer:
    width = face.box[2] - face.box[0]
    pixels = detail.enhance(layer.pixels, level=level, face_side_px=width)
    return Layer(window=layer.window, pixels=pixels, weights=layer.weights)


def _work(
    model: ModelVersion, wanted: FaceSwapParams, *, size: tuple[int, int], faces: int
) -> Work:
    return Work(
        quantities={"images": 1, "faces": faces, "extra_faces": max(0, faces - 1)},
        attributes={
            "media": MediaKind.IMAGE.value,
            "model": model.name,
            "enhance_level": wanted.enhance_level,
            "width": size[0],
            "height": size[1],
        },
    )


def _typed(params: BaseModel) -> FaceSwapParams:
    if not isinstance(params, FaceSwapParams):
        raise TypeError(f"face-swap runs on FaceSwapParams, not {type(params).__name__}")
    return params
