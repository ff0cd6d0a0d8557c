"""A platform whose engine takes videos apart, and a video that can be cut in eight."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy.orm import Session, sessionmaker

from engines.media.ffmpeg import command
from tests.workers.miniature import Platform
from tests.workers.segments.cinema import Cinema, settings_with_digest

FRAMES = 64


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 frames of noise, a key frame every 8."""
    folder = tmp_path_factory.mktemp("clip")
    return write_clip(folder / "clip.mkv", frames=FRAMES)


def write_clip(path: Path, *, frames: int, side: int = 64, seed: int = 7) -> Path:
    noise = np.random.default_rng(seed).integers(0, 255, (frames, 8, 8, 3), dtype=np.uint8)
    pictures = [
        cv2.resize(each, (side, side), interpolation=cv2.INTER_NEAREST).tobytes() for each in noise
    ]
    arguments = [
        *command(),
        *(
            "-f",
            "rawvideo",
            "-pix_fmt",
            "bgr24",
            "-s",
            f"{side}x{side}",
            "-r",
            "25",
            "-i",
            "pipe:0",
        ),
        *("-c:v", "libx264", "-g", "8", "-keyint_min", "8", "-sc_threshold", "0", "-bf", "0"),
        *("-pix_fmt", "yuv420p", "-y", str(path)),
    ]
    subprocess.run(arguments, input=b"".join(pictures), check=True, stderr=subprocess.PIPE)
    return path


@pytest.fixture
def cinema(
    database_url: str, sessions: sessionmaker[Session], tmp_path: Path, clip: Path
) -> Iterator[Cinema]:
    platform = Platform(settings_with_digest(tmp_path / "home", database_url), sessions)
    yield Cinema(platform, clip)
    platform.services.close()
