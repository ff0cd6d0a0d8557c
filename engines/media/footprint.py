"""How many bytes a video may take once it is encoded. Pure; the figures were measured.

Measured were parts as we encode them: of frames with grain of growing strength, of uniform noise
and of random black and white, raw and as x264, x265 and SVT-AV1 had kept them at two qualities.
"""

from dataclasses import dataclass

from engines.media.delivery import Quality
from engines.media.encoding import pixel_format
from engines.media.index import VideoIndex

# What is written is as rich as what was read: of decoded frames no encoder of ours made more than
# 3.7 times the bytes of their source, unless it stayed below the usual share.
_TIMES_THE_SOURCE = 4
_SAMPLES = {"yuv420p": 1.5, "yuv422p": 2.0, "yuv444p": 3.0}  # bytes of one raw pixel
_FRAME_BYTES = 512  # tables and headers, lines of text beside the video


@dataclass(frozen=True, slots=True)
class _Share:
    """Of the bytes of raw planes."""

    usual: float  # whatever the source: some ten times what an ordinary scene takes, strong grain
    most: float  # noise


# Random black and white in VP9 takes 0.59, 0.66, 0.72; uniform noise in lossless H.264 1.49: it
# pays for trying to predict what cannot be.
_SHARES = {
    Quality.LOW: _Share(0.05, 0.65),
    Quality.MEDIUM: _Share(0.08, 0.72),
    Quality.HIGH: _Share(0.10, 0.80),
    Quality.LOSSLESS: _Share(1.60, 1.60),
}


def quality_of(params: object) -> Quality:
    """Of the video that a run with these parameters gives back; who has no word on it: high."""
    asked = getattr(params, "quality", None)
    return asked if isinstance(asked, Quality) else Quality.HIGH


def bytes_per_frame(index: VideoIndex, quality: Quality) -> float:
    """What a frame of the result may take on disk, with its share of sound and subtitles.

    Lossless is bounded by what noise takes. Other qualities follow the mean of the source, up to
    what noise takes in them: of a source that is quiet for an hour and noise for a minute, the
    part with the noise may take more.
    """
    raw = index.width * index.height * _SAMPLES[pixel_format(index)]
    source, share = index.bytes / index.frames, _SHARES[quality]
    picture = min(raw * share.most, max(raw * share.usual, source * _TIMES_THE_SOURCE))
    carried = source if index.tracks else 0  # which part of it is sound nobody has counted
    return picture + carried + _FRAME_BYTES
