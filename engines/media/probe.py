"""What an uploaded file is and how large: the gate every file passes before it costs anything."""

from pathlib import Path

from engines.errors import InvalidInputError
from engines.media.images import FORMATS, probe_image
from engines.media.index import probe_video
from engines.media.limits import MediaLimits
from engines.media.sniff import SNIFF_BYTES, refused_kind, sniff
from engines.spec import MediaInfo


def probe(path: Path, limits: MediaLimits) -> MediaInfo:
    """Recognise a file by content, check it against the limits, and decode or index all of it.

    Call it in a process that may die: the decoders below are large C libraries reading hostile
    bytes (``engines.media.probe_child`` is that process).

    Raises:
        InvalidInputError: ``empty_file``, ``unsupported_media`` and the codes of
            ``probe_image`` and ``probe_video``, each telling what to do next.
    """
    with path.open("rb") as stream:
        first = stream.read(SNIFF_BYTES)
    if not first:
        raise InvalidInputError("the file is empty; send its content", code="empty_file")
    media_type = sniff(first)
    if media_type is None:
        message = (
            f"this is {refused_kind(first)}; send a JPEG, PNG, WebP, TIFF, BMP or GIF picture, "
            "or an MP4, MOV, WebM, Matroska, AVI or MPEG-TS video"
        )
        raise InvalidInputError(message, code="unsupported_media")
    if media_type in FORMATS:
        # who takes the largest is asked when a job is sent
        return probe_image(path, limits=limits.scans)
    return probe_video(path, limits)
