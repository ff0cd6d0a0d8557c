"""Whatever pixels a picture file holds, as upright 8-bit grey or RGB, alpha kept."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from engines.errors import InvalidInputError

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height once rotated, from the header alone."""
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def decoded(image: Image.Image) -> Image.Image:
    """Every pixel, upright, as L, LA, RGB or RGBA with 8 bits."""
    image.load()
    # asked before the conversion, which may drop EXIF, and after loading, which turns TIFF itself
    transpose = _UPRIGHT.get(_orientation(image))
    plain = _plain(image)
    return plain if transpose is None else plain.transpose(transpose)


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode == "CMYK":
        return _from_cmyk(image)
    target = _target_mode(image)
    if target is None:
        message = f"pixels of the kind {image.mode} are not supported; save it as 8-bit RGB"
        raise InvalidInputError(message, code="unsupported_pixels")
    return image if image.mode == target else image.convert(target)


def _target_mode(image: Image.Image) -> str | None:
    if "transparency" in image.info and image.mode in {"1", "L", "P", "RGB"}:
        return "RGBA"
    if image.mode == "P":
        return "RGBA" if image.palette is not None and image.palette.mode == "RGBA" else "RGB"
    return {
        "1": "L",
        "L": "L",
        "LA": "LA",
        "La": "LA",
        "PA": "RGBA",
        "RGB": "RGB",
        "RGBX": "RGB",
        "RGBA": "RGBA",
        "RGBa": "RGBA",
        "YCbCr": "RGB",
    }.get(image.mode)


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile[16:20] == b"CMYK":
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # noqa: BLE001 - broken EXIF says nothing about the pixels
        return 1
    return value if isinstance(value, int) else 1
