"""What a run of colorize tells about itself, and what it is charged by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engines.colorize import skin
from engines.colorize.looking import Looked
from engines.colorize.params import ColorizeParams, Kind
from engines.colorize.restoration import DENOISER, DESCRATCHER
from engines.manifest import ModelVersion
from engines.media.rows import Rows
from engines.media.scans import Scan
from engines.spec import MediaKind, OutputFile, Work


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done to a picture beside its colour."""

    upscaler: str | None
    grain: float | None  # in 8-bit steps; None: nobody looked for it


def picture_work(
    model: ModelVersion, wanted: ColorizeParams, *, kind: Kind, size: tuple[int, int]
) -> Work:
    """One picture; ``size`` is width and height of the input."""
    width, height = size
    return Work(
        quantities={
            "images": 1,
            "megapixels": width * height / 1_000_000,
            "upscaled": int(wanted.upscale > 1),
            "denoised": int(wanted.denoise),
            "descratched": int(wanted.scratch),
        },
        attributes={
            "media": MediaKind.IMAGE.value,
            "model": model.name,
            "type": kind.value,
            "width": width,
            "height": height,
        },
    )


def video_work(model: ModelVersion, *, kind: Kind, frames: int, size: tuple[int, int]) -> Work:
    """Frames of one size; ``size`` is width and height."""
    return Work(
        quantities={"frames": frames},
        attributes={
            "media": MediaKind.VIDEO.value,
            "model": model.name,
            "type": kind.value,
            "width": size[0],
            "height": size[1],
        },
    )


def picture_data(
    model: ModelVersion,
    wanted: ColorizeParams,
    *,
    looked: Looked,
    scan: Scan,
    had_colour: bool,
    looked_at: tuple[int, int],
    result: Rows,
    restored: Restored,
    files: Sequence[OutputFile],
) -> dict[str, Any]:
    """The facts of a coloured picture, JSON-ready."""
    weights = [file.sha256 for file in model.weights]
    return {
        "model": model.id,
        "weights_sha256": weights[0] if weights else None,
        "type": looked.kind.value,
        "detector": looked.detector,
        "faces_found": len(looked.faces),
        "people_found": looked.people,
        "skin": skin.NAME if looked.faces and _paints_skin(model) else None,
        "chroma": wanted.chroma.value,
        "upscaler": restored.upscaler,
        "denoiser": DENOISER if wanted.denoise else None,
        "grain": None if restored.grain is None else round(restored.grain, 2),
        "descratcher": DESCRATCHER if wanted.scratch else None,
        "preview": preview_names(files),
        "input_size": list(looked_at),
        "was_grey": scan.is_grey,
        "notes": notes(scan, had_colour=had_colour),
        "bits": scan.result_depth.itemsize * 8,
        "width": result.width,
        "height": result.height,
    }


def preview_names(files: Sequence[OutputFile]) -> dict[str, str] | None:
    """The names of before and after among the files; None where the result shows itself."""
    small = [file.name for file in files[1:]]
    return dict(zip(("before", "after"), small, strict=True)) if small else None


def notes(scan: Scan, *, had_colour: bool) -> list[str]:
    """What a customer may not expect of a result."""
    said = []
    if had_colour:
        said.append("the picture had colour: it was recoloured from its light")
    if scan.rows.dtype != scan.result_depth:
        said.append(f"16-bit samples were stored in 8 bits, which {scan.result_type} holds")
    return said


def _paints_skin(model: ModelVersion) -> bool:
    """A network of DDColor's form knows skin by itself."""
    return model.options.get("contract") != "ddcolor"
