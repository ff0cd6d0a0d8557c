"""Pictures brought to an exact size by libvips, a few rows at a time."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from engines.errors import ExhaustedError
from engines.media.rows import Rows
from engines.media.scans import as_image, decoded_rows


class Filter(StrEnum):
    """How a pixel of the result is taken from those of the picture."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class Fit(StrEnum):
    """What happens where the sides of the result have another ratio."""

    STRETCH = "stretch"
    CROP = "crop"  # the middle is kept


_KERNELS = {
    Filter.NEAREST: "nearest",
    Filter.BILINEAR: "linear",
    Filter.BICUBIC: "cubic",
    Filter.LANCZOS: "lanczos3",
}


@dataclass(frozen=True, slots=True)
class Sizing:
    """The size of a result in pixels, and how it is reached."""

    height: int
    width: int
    fit: Fit = Fit.STRETCH
    filter: Filter = Filter.LANCZOS


def resized(rows: Rows, sizing: Sizing, path: Path) -> Rows:
    """Rows of the size asked for; large ones lie in ``path``.

    A smaller size averages first: what is thrown away leaves no pattern.

    Raises:
        ExhaustedError: memory or disk ran out here.
    """
    import pyvips

    image = as_image(rows)
    if sizing.fit is Fit.CROP:
        image = image.extract_area(*middle(image.width, image.height, sizing))
    kind = image.interpretation
    try:
        scaled = image.resize(
            sizing.width / image.width,
            vscale=sizing.height / image.height,
            kernel=_KERNELS[sizing.filter],
        )
        return decoded_rows(_exactly(scaled, sizing).copy(interpretation=kind), path)
    except pyvips.Error as error:
        message = f"this machine has too little memory or disk for this size: {error}"
        raise ExhaustedError(message) from error


def middle(width: int, height: int, sizing: Sizing) -> tuple[int, int, int, int]:
    """Left, top, width and height of the largest middle part with the sides' ratio. Pure."""
    kept_width = min(width, max(1, round(height * sizing.width / sizing.height)))
    kept_height = min(height, max(1, round(width * sizing.height / sizing.width)))
    return (width - kept_width) // 2, (height - kept_height) // 2, kept_width, kept_height


def _exactly(image: Any, sizing: Sizing) -> Any:  # noqa: ANN401 - the library is untyped
    """A factor is rounded: at most a row or column is missing, which the last one fills."""
    if (image.width, image.height) == (sizing.width, sizing.height):
        return image
    return image.embed(0, 0, sizing.width, sizing.height, extend="copy")
