"""How large a picture or a video may be before anything is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Everything here is checked against headers first; a file over a limit is refused, unread."""

    max_image_pixels: int = 25_000_000  # width x height of one picture
    max_image_side: int = 16_383  # pixels; also the largest side WebP can hold
    max_image_bytes: int = 64 * 1024 * 1024
    max_video_duration_s: float = 1800.0
    max_video_pixels: int = 4096 * 2304  # width x height of one frame
    max_video_fps: float = 120.0  # mean rate
    max_video_streams: int = 16  # of any kind
