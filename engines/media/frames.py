"""Pictures with several frames or pages: refused, unless a job asks for the first one."""

from typing import Annotated

from PIL import Image
from pydantic import Field

from engines.errors import InvalidInputError
from engines.spec import MediaInfo, MediaKind

FirstFrame = Annotated[
    bool,
    Field(
        strict=True,
        description="Of a picture that moves or has several pages, take the first; else it is "
        "refused.",
    ),
]


def check_single(media: MediaInfo, *, first_frame: bool = False) -> None:
    """Refuse a picture with several frames; raises code ``animated_image``.

    Args:
        media: as probed.
        first_frame: whether the first one is meant.
    """
    if media.kind is MediaKind.IMAGE and media.frames is not None and not first_frame:
        raise moving(media.frames)


def moving(frames: int) -> InvalidInputError:
    """The refusal, with the ways out."""
    message = (
        f"the picture has {frames} frames or pages; send one frame, or the clip as a video, or set "
        "first_frame to true where the engine has it"
    )
    return InvalidInputError(message, code="animated_image")


def count_frames(image: Image.Image, media_type: str) -> int | None:
    """How many frames or pages, if several; moves ``image`` to another one."""
    if media_type == "image/jpeg":
        return None  # further pictures of a multi-picture JPEG are previews and depth maps
    try:
        image.seek(1)
    except (EOFError, ValueError):
        return None
    return max(2, int(getattr(image, "n_frames", 2)))
