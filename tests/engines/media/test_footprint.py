"""What a part takes on disk stays below what is reserved for it, at every quality."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.media.delivery import Quality, VideoContainer, encoding_of
from engines.media.ffmpeg import command
from engines.media.footprint import bytes_per_frame, quality_of
from engines.media.index import index_video
from engines.media.segments import plan_segments
from engines.media.video import transform_video
from tests.engines.media.parts import Nobody, joined, parts_of

FRAMES, EACH = 24, 8
LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0")


def write_noise(path: Path, kind: str, *options: str, size: tuple[int, int] = (160, 96)) -> Path:
    """A source of 24 frames, a key frame every 8, as it comes out of an encoder."""
    width, height = size
    noise = np.random.default_rng(5)
    shape = (FRAMES, height, width, 3)
    match kind:
        case "uniform":
            frames = noise.integers(0, 256, shape)
        case "black and white":
            frames = noise.integers(0, 2, shape) * 255
        case _:  # grain on a grey wall
            frames = np.clip(noise.normal(128, float(kind), shape), 0, 255)
    raw = ("-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", f"{width}x{height}", "-r", "25")
    plain = "yuv444p" if width % 2 else "yuv420p"
    keys = ("-g", str(EACH), "-pix_fmt", plain)
    subprocess.run(
        [*command(), *raw, "-i", "pipe:0", *options, *keys, "-y", str(path)],
        input=frames.astype(np.uint8).tobytes(),
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("noise")
    odd = (161, 97)
    x265 = (
        "-c:v",
        "libx265",
        "-preset",
        "fast",
        "-crf",
        "30",
        "-x265-params",
        "log-level=none:keyint=8:scenecut=0:open-gop=0",
    )
    return {
        "uniform": write_noise(folder / "uniform.mp4", "uniform", *LOSSLESS),
        "uniform, odd": write_noise(folder / "odd.mp4", "uniform", *LOSSLESS, size=odd),
        "black and white": write_noise(folder / "bw.mp4", "black and white", *LOSSLESS),
        "grain, well compressed": write_noise(folder / "grain.mp4", "40", *x265),
    }  # fmt: skip


@pytest.mark.parametrize("quality", list(Quality))
@pytest.mark.parametrize("container", [VideoContainer.MKV, VideoContainer.WEBM])
@pytest.mark.parametrize(
    "name", ["uniform", "uniform, odd", "black and white", "grain, well compressed"]
)
def test_no_part_of_noise_takes_more_than_is_reserved_for_it(
    sources: dict[str, Path], tmp_path: Path, name: str, quality: Quality, container: VideoContainer
) -> None:
    source = sources[name]
    index = index_video(source)
    segment = plan_segments(index, frames_per_segment=EACH)[1]
    assert segment.frames == EACH
    sizes = []

    def look(frames: Any) -> Any:
        sizes.append(written(tmp_path))
        return frames

    transform_video(
        source,
        tmp_path / "part.mp4",
        index=index,
        process=look,
        batch=2,
        context=Nobody(),
        encoding=encoding_of(quality, container, in_parts=True),
        segment=segment,
    )
    peak = max(*sizes, written(tmp_path))
    assert 0 < peak <= segment.frames * bytes_per_frame(index, quality)


def written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_sound_that_outweighs_the_picture_is_reserved_for_the_joined_video(tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "anoisesrc=r=96000:d=0.96:a=0.9", "-ac", "8", "-c:a", "pcm_s24le")
    source = write_noise(tmp_path / "loud.mkv", "10", *sound, "-c:v", "libx264", "-crf", "35")
    index, encoding = index_video(source), encoding_of(Quality.LOW, None, in_parts=True)
    parts, lost = parts_of(source, tmp_path, encoding=encoding)
    whole = joined(source, parts, tmp_path, encoding=encoding, lost=lost)
    silent = replace(index, tracks=())
    assert index.frames * bytes_per_frame(silent, Quality.LOW) < whole.stat().st_size
    assert whole.stat().st_size <= index.frames * bytes_per_frame(index, Quality.LOW)


def test_a_better_quality_reserves_more_and_a_richer_source_too(sources: dict[str, Path]) -> None:
    quiet = replace(index_video(sources["uniform"]), bytes=1000)
    by_quality = [bytes_per_frame(quiet, quality) for quality in Quality]
    assert by_quality == sorted(set(by_quality))
    rich = replace(quiet, bytes=quiet.frames * 5000)
    assert bytes_per_frame(rich, Quality.HIGH) > bytes_per_frame(quiet, Quality.HIGH)
    assert bytes_per_frame(rich, Quality.LOSSLESS) == bytes_per_frame(quiet, Quality.LOSSLESS)


def test_parameters_without_a_word_on_quality_mean_high() -> None:
    assert quality_of(object()) is Quality.HIGH
