"""Pictures: header before pixels, one plain form in memory, clean files out.

Whatever the file holds (rotation, palette, CMYK, 16 bits, grey, alpha), engines see upright
8-bit BGR. What is written carries pixels, alpha and the colour profile, and no other metadata:
places and camera names of the input do not leave with the result.
"""

import mmap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from engines.errors import EngineFaultError, ExhaustedError, InvalidInputError
from engines.media.frames import count_frames, moving
from engines.media.limits import MediaLimits
from engines.media.plain import decoded, upright_size
from engines.media.sniff import SNIFF_BYTES, refused_kind, sniff
from engines.media.structure import check_structure
from engines.spec import MediaInfo, MediaKind

Pixels = NDArray[np.uint8]

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/gif": "GIF",
}
_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
_SAVE_OPTIONS: dict[str, dict[str, int]] = {
    "image/jpeg": {"quality": 95, "subsampling": 0},
    "image/png": {"compress_level": 4},
    "image/webp": {"quality": 92},
}
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_OPAQUE = 255


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright picture in memory."""

    pixels: Pixels  # [height, width, 3] BGR
    alpha: Pixels | None = None  # [height, width]; None: opaque everywhere
    icc: bytes | None = None  # RGB colour profile of the pixels; None: sRGB
    is_grey: bool = False  # the file itself had no colour channels
    media_type: str = "image/png"  # of the file it came from

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])


def probe_image(path: Path, *, limits: MediaLimits) -> MediaInfo:
    """Check a picture file whole, cheapest check first, and tell its facts.

    Raises:
        InvalidInputError: codes ``empty_file``, ``unsupported_media``, ``image_too_large``,
            ``image_truncated``, ``trailing_data``, ``unsupported_pixels``, ``media_unreadable``.
    """
    media_type = _image_type(path)
    size = path.stat().st_size
    if size > limits.max_image_bytes:
        message = f"the picture has {size} bytes; at most {limits.max_image_bytes} are taken"
        raise InvalidInputError(message, code="image_too_large")
    with _opened(path, media_type, limits) as (image, frames):
        _check_structure(path, media_type)
        width, height = decoded(image).size
    return _info(media_type, size, (width, height), frames)


def describe_image(path: Path, *, limits: MediaLimits) -> MediaInfo:
    """The facts of a picture by its header alone; raises as ``probe_image`` for what that shows."""
    media_type = _image_type(path)
    with _opened(path, media_type, limits) as (image, frames):
        upright = upright_size(image)
    return _info(media_type, path.stat().st_size, upright, frames)


def _info(media_type: str, size: int, upright: tuple[int, int], frames: int | None) -> MediaInfo:
    width, height = upright
    return MediaInfo(
        kind=MediaKind.IMAGE,
        media_type=media_type,
        bytes=size,
        width=width,
        height=height,
        frames=frames,
    )


def read_image(
    path: Path, *, limits: MediaLimits | None = None, first_frame: bool = False
) -> Picture:
    """Decode a picture file into upright 8-bit BGR.

    Args:
        path: the file.
        limits: how large it may be; None: the defaults.
        first_frame: of several frames or pages take the first.

    Raises:
        InvalidInputError: the codes of ``probe_image`` that concern pixels; ``animated_image``.
        ExhaustedError: not enough memory here.
    """
    media_type = _image_type(path)
    with _opened(path, media_type, limits or MediaLimits()) as (image, frames):
        if frames is not None and not first_frame:
            raise moving(frames)
        is_grey = image.mode in _GREY_MODES or image.mode.startswith("I;16")
        icc = image.info.get("icc_profile")
        upright = decoded(image)
    alpha = None
    if "A" in upright.getbands():
        band = np.asarray(upright.getchannel("A"))
        alpha = np.ascontiguousarray(band) if (band < _OPAQUE).any() else None
    return Picture(
        pixels=_bgr(upright),
        alpha=alpha,
        icc=icc if isinstance(icc, bytes) and icc[16:20] == b"RGB " else None,
        is_grey=is_grey,
        media_type=media_type,
    )


def _bgr(image: Image.Image) -> Pixels:
    import cv2

    # every copy of a photograph costs about what decoding it costs
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def write_image(picture: Picture, path: Path, *, media_type: str = "image/png") -> None:
    """Encode pixels, alpha and colour profile; JPEG, which has no alpha, is laid on white."""
    if media_type not in _SAVE_OPTIONS:
        message = f"pictures are written as {', '.join(_SAVE_OPTIONS)}, not {media_type}"
        raise EngineFaultError(message)
    image = Image.fromarray(np.ascontiguousarray(picture.pixels[:, :, ::-1]))
    if picture.alpha is not None:
        alpha = Image.fromarray(picture.alpha)
        if media_type == "image/jpeg":
            white = Image.new("RGB", image.size, "white")
            image = Image.composite(image, white, alpha)
        else:
            image.putalpha(alpha)
    image.save(
        path,
        format=FORMATS[media_type],
        icc_profile=picture.icc,
        **_SAVE_OPTIONS[media_type],
    )


def output_type(media_type: str) -> str:
    """What a result of a picture of this type is written as: its own type, or else PNG."""
    return media_type if media_type in _SAVE_OPTIONS else "image/png"


def suffix_of(media_type: str) -> str:
    """The file suffix of a written type, with its dot."""
    return _SUFFIXES[media_type]


def _image_type(path: Path) -> str:
    with path.open("rb") as stream:
        first = stream.read(SNIFF_BYTES)
    if not first:
        raise InvalidInputError("the file is empty; send its content", code="empty_file")
    media_type = sniff(first)
    if media_type not in FORMATS:
        kind = f"a video ({media_type})" if media_type else refused_kind(first)
        message = f"this is {kind}; send a JPEG, PNG, WebP, TIFF, BMP or GIF picture"
        raise InvalidInputError(message, code="unsupported_media")
    return media_type


@contextmanager
def _opened(
    path: Path, media_type: str, limits: MediaLimits
) -> Iterator[tuple[Image.Image, int | None]]:
    """The header within limits, and how many frames if several.

    Decoding happens inside the block, errors are told apart here.
    """
    with warnings.catch_warnings():
        # Pillow warns about bad metadata, which is of no use here: pixels decide.
        warnings.simplefilter("ignore")
        try:
            formats = [FORMATS[media_type]]
            with Image.open(path, formats=formats) as image:
                check_size(image.size, limits)
                frames = count_frames(image, media_type)
                if frames is None:
                    yield image, None
            if frames is not None:  # it was moved: the first frame is seen afresh
                with Image.open(path, formats=formats) as image:
                    yield image, frames
        except (InvalidInputError, EngineFaultError):
            raise
        except MemoryError as error:
            raise ExhaustedError("not enough memory to decode this picture here") from error
        except Image.DecompressionBombError as error:
            raise _too_large(limits) from error
        except Exception as error:  # a decoder fed hostile bytes may raise anything
            raise _unreadable(error) from error


def check_size(size: tuple[int, int], limits: MediaLimits) -> None:
    """Refuse a picture by its header; raises ``image_too_large`` or ``media_unreadable``."""
    width, height = size
    if width <= 0 or height <= 0:
        raise InvalidInputError("the picture has no pixels", code="media_unreadable")
    if width * height > limits.max_image_pixels or max(size) > limits.max_image_side:
        raise _too_large(limits, found=f"{width}x{height}")


def _check_structure(path: Path, media_type: str) -> None:
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        # mmap slices, indexes and searches like bytes without reading the file into memory
        check_structure(data, media_type)  # type: ignore[arg-type]


def _too_large(limits: MediaLimits, *, found: str = "far too many pixels") -> InvalidInputError:
    message = (
        f"the picture has {found}; at most {limits.max_image_pixels} pixels and "
        f"{limits.max_image_side} per side are taken: scale it down"
    )
    return InvalidInputError(message, code="image_too_large")


def _unreadable(error: Exception) -> InvalidInputError:
    text = str(error)
    if not isinstance(error, UnidentifiedImageError) and (
        isinstance(error, EOFError) or "truncated" in text.lower()
    ):
        message = "the picture is cut off before its end; send the whole file"
        return InvalidInputError(message, code="image_truncated")
    message = "the picture cannot be decoded: it is damaged or of a rare kind; save it as PNG"
    return InvalidInputError(message, code="media_unreadable")
