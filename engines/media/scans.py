"""Pictures of any size, streamed: as many bits as the file has, memory that does not grow with it.

Where ``images`` gives engines one plain form in memory, this keeps what an archive cares for: 16
bits per sample, the colour profile, EXIF. Large pictures are decoded into a plain file beside the
run and written back from one, by libvips, a few rows at a time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import EngineFaultError, ExhaustedError, InvalidInputError
from engines.media.images import check_size, read_image
from engines.media.limits import MediaLimits
from engines.media.rows import IN_MEMORY_BYTES, ArrayRows, Depth, FileRows, Rows, Samples
from engines.media.sniff import SNIFF_BYTES, sniff
from engines.media.tiff_tags import copy_tags

STREAMED = frozenset({"image/jpeg", "image/png", "image/tiff", "image/webp"})
_SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/webp": ".webp",
}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "image/jpeg": {"Q": 95, "subsample_mode": "off"},
    "image/png": {"compression": 4},
    # strips are what every reader knows; prediction halves what photographs take
    "image/tiff": {"compression": "deflate", "predictor": "horizontal"},
    "image/webp": {"Q": 92},
}
_DEEP = frozenset({"image/png", "image/tiff"})  # what can hold 16 bits
_FORMATS: dict[str, Depth] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}
# Facts of the file that are no longer true of the result, or a small picture of the old one.
_DROPPED = (
    *("orientation", "jpeg-thumbnail-data", "palette", "bits-per-sample"),
    *("n-pages", "page-height", "delay", "loop", "gif-delay", "gif-loop"),
)
_ORIENTED_MIN = 2


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """An upright picture and what is kept of its file."""

    rows: Rows  # grey or BGR, 8 or 16 bits
    alpha: Rows | None  # one channel of as many bits; None: opaque everywhere
    is_grey: bool  # the file itself had no colour channels
    media_type: str  # of the file
    path: Path  # of the file
    origin: Any = None  # the opened file, for its profile and EXIF; None: nothing is kept

    @property
    def result_type(self) -> str:
        """What a result is written as: the file's own type, or else PNG."""
        return self.media_type if self.media_type in _SUFFIXES else "image/png"

    @property
    def result_depth(self) -> Depth:
        """Of the samples of a result: 16 bits where file and result have them."""
        deep = self.rows.dtype == np.uint16 and self.result_type in _DEEP
        return np.dtype(np.uint16) if deep else np.dtype(np.uint8)


def open_scan(path: Path, folder: Path, *, limits: MediaLimits) -> Scan:
    """Decode a picture, upright, into memory or into files in ``folder``; of several the first.

    Args:
        path: a picture that was probed.
        folder: for the samples of large pictures; the caller's to delete.
        limits: as for every picture.

    Raises:
        InvalidInputError: ``unsupported_pixels``, ``media_unreadable`` and the codes of ``images``.
        ExhaustedError: memory or disk ran out here.
    """
    with path.open("rb") as stream:
        media_type = sniff(stream.read(SNIFF_BYTES))
    if media_type not in STREAMED:
        return _read_whole(path, limits)
    import pyvips

    try:
        image = _upright(str(path))
        check_size((image.width, image.height), limits.scans)
        colour = _plain(image)
        # a stream is read once: alpha comes from another look at the file
        alpha = _alpha(_upright(str(path))) if image.hasalpha() else None
        is_grey = image.interpretation in {"b-w", "grey16"}
        return Scan(
            rows=decoded_rows(colour, folder / "picture.raw"),
            alpha=None if alpha is None else _shown(decoded_rows(alpha, folder / "alpha.raw")),
            is_grey=is_grey,
            media_type=str(media_type),
            path=path,
            origin=image,
        )
    except pyvips.Error as error:
        raise _exhausted(error) or _unreadable() from error


def save_scan(scan: Scan, rows: Rows, path: Path, *, alpha: Rows | None = None) -> None:
    """Write ``rows`` as ``scan.result_type`` with the profile and EXIF of the scan's file.

    Args:
        scan: what the picture was made from.
        rows: of the result, grey or BGR.
        path: of the result; its ending does not count.
        alpha: of the size of ``rows``; JPEG, which has none, is laid on white.
    """
    import pyvips

    media_type = scan.result_type
    try:
        image = as_image(rows)
        if alpha is not None:
            image = image.bandjoin(as_image(alpha))
            if media_type == "image/jpeg":
                image = image.flatten(background=255)
        image = _with_facts(image, scan.origin)
        image.write_to_file(str(path), **_SAVE_OPTIONS[media_type])
    except pyvips.Error as error:
        raise _exhausted(error) or EngineFaultError(f"not written: {error}") from error
    if media_type == "image/tiff" and scan.origin is not None:
        copy_tags(scan.path, path)


def suffix_of_result(scan: Scan) -> str:
    """The file ending of ``scan.result_type``, with its dot."""
    return _SUFFIXES[scan.result_type]


def result_suffix(media_type: str) -> str:
    """The ending, with its dot, of a result made of a picture of this type."""
    return _SUFFIXES.get(media_type, _SUFFIXES["image/png"])


def _read_whole(path: Path, limits: MediaLimits) -> Scan:
    """BMP and GIF, which have no bits, profiles or EXIF to keep."""
    picture = read_image(path, limits=limits, first_frame=True)
    pixels: Samples = picture.pixels
    return Scan(
        rows=ArrayRows(pixels),
        alpha=None if picture.alpha is None else ArrayRows(picture.alpha[..., None]),
        is_grey=picture.is_grey,
        media_type=picture.media_type,
        path=path,
    )


def _upright(name: str) -> Any:  # noqa: ANN401 - the library is untyped
    import pyvips

    pyvips.cache_set_max(0)  # nothing is asked for twice
    image = pyvips.Image.new_from_file(name, access="sequential")
    turned = "orientation" in image.get_fields()
    if turned and image.get("orientation") >= _ORIENTED_MIN:
        # turning needs rows in another order: libvips decodes to its own temporary file
        return pyvips.Image.new_from_file(name, access="random").autorot()
    return image


def _alpha(image: Any) -> Any:  # noqa: ANN401 - the library is untyped
    return image[image.bands - 1]


def _plain(image: Any) -> Any:  # noqa: ANN401 - the library is untyped
    """Grey or RGB of 8 or 16 bits, without alpha."""
    if image.format not in _FORMATS or image.interpretation == "lab":
        message = f"pixels of the kind {image.format} are not supported; save it as 8-bit RGB"
        raise InvalidInputError(message, code="unsupported_pixels")
    if image.hasalpha():
        image = image.extract_band(0, n=image.bands - 1)
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk")
    elif image.bands == 1 and "icc-profile-data" in image.get_fields():
        # a profile of grey says how dark its steps are; a result in colour has no use for it
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, depth=depth)[0]
    if image.bands not in {1, 3}:
        message = f"pictures of {image.bands} channels are not supported; save it as 8-bit RGB"
        raise InvalidInputError(message, code="unsupported_pixels")
    return image


def decoded_rows(image: Any, path: Path) -> ArrayRows | FileRows:  # noqa: ANN401 - the library is untyped
    """The samples, in memory while they are few, else streamed into a file; BGR."""
    ordered = image if image.bands == 1 else image[2].bandjoin([image[1], image[0]])
    depth = _FORMATS[ordered.format]
    size = (ordered.height, ordered.width, ordered.bands)
    if int(np.prod(size)) * depth.itemsize <= IN_MEMORY_BYTES:
        flat = np.frombuffer(ordered.write_to_memory(), dtype=depth)
        return ArrayRows(flat.reshape(size))
    ordered.rawsave(str(path))
    return FileRows(path, *size, depth)


def _shown(alpha: ArrayRows | FileRows) -> Rows | None:
    """Alpha that hides something, else nothing."""
    opaque = np.iinfo(alpha.dtype).max
    tops = range(0, alpha.height, 1024)
    hides = any((alpha.read(top, 1024) < opaque).any() for top in tops)
    return alpha if hides else None


def as_image(rows: Rows) -> Any:  # noqa: ANN401 - the library is untyped
    """Rows as an image of libvips, RGB or grey, that is read once from the top down."""
    import pyvips

    deep = rows.dtype == np.uint16
    name = "ushort" if deep else "uchar"
    if isinstance(rows, FileRows):
        image = pyvips.Image.rawload(
            str(rows.path), rows.width, rows.height, rows.channels, format=name, access="sequential"
        )
    else:
        samples = np.ascontiguousarray(rows.read(0, rows.height))
        image = pyvips.Image.new_from_memory(
            samples.data, rows.width, rows.height, rows.channels, name
        )
    if rows.channels == 1:
        return image.copy(interpretation="grey16" if deep else "b-w")
    rgb = image[2].bandjoin([image[1], image[0]])
    return rgb.copy(interpretation="rgb16" if deep else "srgb")


def _with_facts(image: Any, origin: Any) -> Any:  # noqa: ANN401 - the library is untyped
    """The profile (of RGB only), EXIF, XMP and resolution of the file that was opened."""
    import pyvips

    if origin is None:
        return image
    image = image.copy(xres=origin.xres, yres=origin.yres)
    fixed = {"width", "height", "bands", "format", "coding", "interpretation", "filename"}
    fixed |= {"xoffset", "yoffset", "xres", "yres", *_DROPPED}
    for name in origin.get_fields():
        if name in fixed or name.endswith(("-Orientation", "-loader")):
            continue
        value = origin.get(name)
        if name == "icc-profile-data" and bytes(value[16:20]) != b"RGB ":
            continue
        image.set_type(origin.get_typeof(name), name, value)
    # also inside the EXIF that is written
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def _exhausted(error: Exception) -> ExhaustedError | None:
    text = str(error).lower()
    if "out of memory" in text or "no space" in text:
        return ExhaustedError("this machine has too little memory or disk for this picture")
    return None


def _unreadable() -> InvalidInputError:
    message = "the picture cannot be decoded: it is damaged or of a rare kind; save it as PNG"
    return InvalidInputError(message, code="media_unreadable")
