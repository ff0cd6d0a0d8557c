"""How much media one job may bring; every refusal has its own code."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Bounds on one input file, checked before any token is held.

    The defaults fit one worker with a few gigabytes of memory; the platform builds its own from
    its settings. A limit is the largest value still accepted.
    """

    max_bytes: int = 512 * 1024 * 1024  # file_too_large
    max_pixels: int = 25_000_000  # width * height of a picture; image_too_large
    max_video_pixels: int = 3840 * 2160  # width * height of a frame; video_too_large
    max_side: int = 16_384  # longest side of a picture or frame; *_too_large
    max_duration_s: float = 1800.0  # video_too_long
    max_frames: int = 216_000  # video_too_many_frames: 30 min at 120 frames per second
    max_fps: float = 240.0  # mean rate; video_too_many_fps
    max_streams: int = 32  # of any kind in one container; video_too_many_streams
    probe_timeout_s: float = 60.0  # wall clock of one probing process; media_too_complex
    probe_memory_bytes: int = 2 * 1024 * 1024 * 1024  # address space of one probing process
