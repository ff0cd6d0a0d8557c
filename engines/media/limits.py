"""How large a picture or a video may be before anything is decoded."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Everything here is checked against headers first; a file over a limit is refused, unread."""

    max_image_pixels: int = 25_000_000  # width x height of one picture
    max_image_side: int = 16_383  # pixels; also the largest side WebP can hold
    max_image_bytes: int = 64 * 1024 * 1024
    # Of a picture for an engine that streams (``large_pictures`` in its manifest); None: no larger.
    max_scan_pixels: int | None = None
    max_scan_side: int = 32_767  # pixels: a panorama; the most that OpenCV samples along one side
    max_scan_bytes: int = 640 * 1024 * 1024  # 100 megapixels of 16-bit RGB, hardly packed
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

    @property
    def scans(self) -> "MediaLimits":
        """The same with the limits of streamed pictures in place of those of others."""
        if self.max_scan_pixels is None or self.max_scan_pixels <= self.max_image_pixels:
            return self
        return replace(
            self,
            max_image_pixels=self.max_scan_pixels,
            max_image_side=self.max_scan_side,
            max_image_bytes=self.max_scan_bytes,
        )
