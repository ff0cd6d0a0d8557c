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
    max_video_side: int = 16_384  # pixels
    max_video_bytes: int = 2 * 1024**3
    max_video_frames: int = 216_000  # 30 minutes at 120 per second
    # One probing run of ffmpeg; its memory is address space, several times what it touches.
    probe_timeout_s: float = 60.0
    probe_memory_bytes: int = 2 * 1024**3
