"""What a caller may say about the video that a job gives back; the same for every engine."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from engines.errors import InvalidInputError
from engines.media.containers import MATROSKA, MOV, MP4, WEBM, Container
from engines.media.encoding import X264, Encoding
from engines.media.hardware import choose_encoder


class Quality(StrEnum):
    """How much of the picture the encoder keeps."""

    LOW = "low"  # a preview
    MEDIUM = "medium"  # fit to share, small
    HIGH = "high"  # hard to tell from what the engine made
    LOSSLESS = "lossless"  # exactly what the engine made; large


class VideoContainer(StrEnum):
    """The file type of the result."""

    MP4 = "mp4"
    MOV = "mov"
    MKV = "mkv"
    WEBM = "webm"  # encoded as VP9, which takes several times as long


VideoQuality = Annotated[
    Quality | None,
    Field(description="Of a video that is given back: low, medium, high or lossless; null: high."),
]
ResultContainer = Annotated[
    VideoContainer | None,
    Field(
        description="File type of a video that is given back: mp4, mov, mkv or webm. Sound and "
        "subtitles are never changed; one that cannot hold them is refused. Null: as the source, "
        "or the nearest that holds everything."
    ),
]

_CRF = {Quality.LOW: 28, Quality.MEDIUM: 23, Quality.HIGH: 18, Quality.LOSSLESS: 0}
_CONTAINERS: dict[VideoContainer, Container] = {
    VideoContainer.MP4: MP4,
    VideoContainer.MOV: MOV,
    VideoContainer.MKV: MATROSKA,
    VideoContainer.WEBM: WEBM,
}


def check_delivery(
    quality: Quality | None, container: VideoContainer | None, *, gives_video: bool
) -> None:
    """Refuse wishes about a video where none is given back; raises ``option_unsupported``."""
    asked = {"quality": quality, "container": container}
    for name, value in asked.items():
        if value is not None and not gives_video:
            detail = f"{name} is for jobs that give a video back: leave it out"
            raise InvalidInputError(detail, code="option_unsupported")


def encoding_of(
    quality: Quality | None, container: VideoContainer | None, *, in_parts: bool
) -> Encoding:
    """Return what the encoder is told.

    Parts of one video may be made on different machines and must fit each other, so they are
    encoded in software everywhere; a whole one by the best this machine has.
    """
    return Encoding(
        crf=_CRF[quality or Quality.HIGH],
        container=_CONTAINERS[container] if container else None,
        encoder=X264 if in_parts else choose_encoder(),
    )
