"""Whether this machine's GPU encodes and decodes video, found out by letting it do so once.

That a binary lists an encoder says nothing: the largest GPUs have none, and a driver may be absent.
"""

import functools
import tempfile
from pathlib import Path
from typing import IO, Any

import ffmpeg

from engines.media.encoding import NVENC, X264
from engines.media.ffmpeg import Bounds, command, run

_TIMEOUT_S = 30.0
_TRIAL = "color=s=320x240:r=25:d=0.2"  # five frames


def choose_encoder() -> str:
    """Return the encoder of whole videos here: on the GPU where it has one, else in software."""
    return NVENC if can_encode(NVENC) else X264


@functools.cache
def can_encode(encoder: str) -> bool:
    """Whether a few frames can really be encoded; tried once per process."""
    return _works(_encoding(encoder, "pipe:1", f="null"))


@functools.cache
def can_decode() -> bool:
    """Whether NVDEC really decodes H.264 here; tried once per process."""
    with tempfile.TemporaryDirectory(prefix="pixelmeter-trial-") as folder:
        clip = Path(folder) / "trial.mp4"
        if not _works(_encoding(X264, f"file:{clip}", f="mp4")):
            return False
        # Frames stay on the device: else ffmpeg would decode in software and say nothing.
        there = ffmpeg.input(f"file:{clip}", hwaccel="cuda", hwaccel_output_format="cuda")
        back = ffmpeg.output(there, "pipe:1", f="null", vf="hwdownload,format=nv12")
        return _works(back)


def _encoding(encoder: str, where: str, **options: str) -> Any:  # noqa: ANN401 - no types there
    frames = ffmpeg.input(_TRIAL, f="lavfi")
    return ffmpeg.output(frames, where, pix_fmt="yuv420p", **{"c:v": encoder}, **options)


def _works(output: Any) -> bool:  # noqa: ANN401 - as above
    def read(stream: IO[bytes]) -> None:
        stream.read()

    finished = run(
        output.compile(cmd=command()), bounds=Bounds.on_device(), timeout_s=_TIMEOUT_S, read=read
    )
    return finished.status == 0
