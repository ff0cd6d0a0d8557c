"""A picture as ``/view`` gives it: as it is, one channel of it, or a lighter copy."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from PIL import Image

from app.comfyui.errors import PromptError, error_body
from app.files.models import File
from app.storage import Storage
from engines.media.plain import decoded

RENDERED_PIXELS_MAX: Final = 40_000_000
QUALITY_DEFAULT: Final = 90
_PREVIEW = re.compile(r"(webp|jpeg)?;?(\d{1,3})?")


@dataclass(frozen=True, slots=True)
class View:
    """What was asked for; neither preview nor channel: the file itself."""

    format: str | None  # webp | jpeg: a lighter copy
    quality: int
    channel: str | None  # rgb | a

    @property
    def is_plain(self) -> bool:
        """Whether the bytes of the file are the answer."""
        return self.format is None and self.channel is None


def view_of(query: Mapping[str, str]) -> View:
    """Read ``preview`` (as in ``webp;90``) and ``channel`` of the address."""
    channel = query.get("channel")
    asked = query.get("preview")
    found = _PREVIEW.fullmatch(asked or "")
    form = None
    if asked is not None:  # an unknown format is webp, as there
        form = (found[1] if found else None) or "webp"
    if form == "jpeg" and "a" in (channel or ""):
        form = "webp"
    quality = int(found[2]) if found and found[2] else QUALITY_DEFAULT
    return View(form, min(max(quality, 1), 100), channel if channel in {"rgb", "a"} else None)


def rendered(storage: Storage, file: File, view: View) -> tuple[bytes, str]:
    """The bytes of a copy and its media type; blocks while it is made.

    Raises:
        PromptError: the picture is too large to be made into another one for a look.
    """
    if (file.width or 0) * (file.height or 0) > RENDERED_PIXELS_MAX:
        raise PromptError(
            error_body(
                "image_too_large",
                "The picture is too large for a preview",
                "View it without `preview` and `channel`.",
            )
        )
    with storage.nearby(file.storage_key) as path, Image.open(path) as image:
        return _encoded(decoded(image), view)


def _encoded(image: Image.Image, view: View) -> tuple[bytes, str]:
    out = io.BytesIO()
    if view.format is not None:
        wants_rgb = view.format == "jpeg" or view.channel == "rgb"
        made = image.convert("RGB" if wants_rgb else _shown_mode(image))
        made.save(out, format=view.format.upper(), quality=view.quality)
        return out.getvalue(), f"image/{view.format}"
    if view.channel == "rgb":
        _without_alpha(image).save(out, format="PNG", compress_level=4)
    else:
        alone = Image.new("RGBA", image.size)
        alone.putalpha(_alpha(image))
        alone.save(out, format="PNG", compress_level=4)
    return out.getvalue(), "image/png"


def _shown_mode(image: Image.Image) -> str:
    return "RGBA" if "A" in image.getbands() else "RGB"


def _without_alpha(image: Image.Image) -> Image.Image:
    """The colours as they are stored, not laid on anything."""
    if _shown_mode(image) == "RGB":
        return image.convert("RGB")
    return Image.merge("RGB", image.convert("RGBA").split()[:3])


def _alpha(image: Image.Image) -> Image.Image:
    if _shown_mode(image) == "RGB":
        return Image.new("L", image.size, 255)
    return image.convert("RGBA").getchannel("A")
