"""Why ffmpeg could not read a file, as a code and a sentence for its owner."""

import re
import signal

from engines.errors import EngineError, ExhaustedError, InvalidInputError
from engines.media.ffmpeg import Finished

_CUT = "the video is incomplete: upload the whole file again"
# The first pattern found decides; every pattern is a message of ffmpeg 6 to 9.
_REASONS = (
    (r"exceeds specified max pixel count|Picture size \d+x\d+ is invalid", "video_too_large",
     "frames are too large: scale the video down"),
    (r"exceeds max_streams parameter", "video_too_many_streams",
     "the file has too many streams: keep one video and its sound"),
    (r"matches no streams", "no_video_stream", "the file has no video stream"),
    (r"moov atom not found|partial file|File ended prematurely", "video_truncated", _CUT),
    (r"no decoder found for|Decoder .* not found|Could not find tag for codec",
     "unsupported_media", "the video codec is not supported: send H.264, HEVC, VP9 or AV1"),
    (r"Cannot allocate memory", "media_too_complex",
     "the video needs too much memory to be opened: convert it first"),
)  # fmt: skip
# Complete lines of a finished run that still mean the end of the file is missing.
_LATE = re.compile(r"partial file|File ended prematurely")


def diagnose(finished: Finished, *, found: bool) -> EngineError | None:
    """Return the refusal that a probing run calls for, or ``None`` if all is well.

    ``found`` says whether the run printed any packet.
    """
    text = finished.messages.text()
    if finished.timed_out or finished.status == -signal.SIGXCPU:
        detail = "the video takes too long to open: convert it first"
        return InvalidInputError(detail, code="media_too_complex")
    if finished.status == -signal.SIGKILL:
        return ExhaustedError("the reader was killed, probably for want of memory: try again")
    if finished.status == 0 and found and not _LATE.search(text):
        return None
    for pattern, code, detail in _REASONS:
        if re.search(pattern, text):
            return InvalidInputError(detail, code=code)
    detail = "the video cannot be decoded: it is damaged or not a video"
    return InvalidInputError(detail, code="media_unreadable")


def size_changes() -> InvalidInputError:
    """Return the refusal of a video whose frames do not all have one size."""
    detail = "the picture size changes within the video: convert it to one size first"
    return InvalidInputError(detail, code="video_size_changes")
