"""Real input for the demo: photographs inside two wheels, a video made from them, or your own.

Nothing is downloaded and no third-party byte is part of the product: scikit-image and matplotlib
carry a few free photographs for their own examples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from app.demo.errors import DemoError
from engines.media import ffmpeg

INSTALL = "pip install 'pixelmeter[demo]'  (in a checkout: pip install --editable '.[demo]')"

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi"})

CLIP_WIDTH, CLIP_HEIGHT = 640, 360
RENDER_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Photos:
    """Where the photographs lie on this machine."""

    astronaut: Path  # a woman's portrait, 512x512
    hopper: Path  # Grace Hopper, 512x600
    camera: Path  # a man with a camera, grey, 512x512
    cat: Path
    coffee: Path
    rocket: Path


def find_photos() -> Photos:
    """Find the photographs.

    Raises:
        DemoError: a package of the ``demo`` extra is missing; names the command that brings it.
    """
    skimage = _package_folder("skimage") / "data"
    matplotlib = _package_folder("matplotlib") / "mpl-data" / "sample_data"
    return Photos(
        astronaut=skimage / "astronaut.png",
        hopper=matplotlib / "grace_hopper.jpg",
        camera=skimage / "camera.png",
        cat=skimage / "chelsea.png",
        coffee=skimage / "coffee.png",
        rocket=skimage / "rocket.jpg",
    )


def find_font() -> Path:
    """A real font for captions: DejaVu from matplotlib."""
    return _package_folder("matplotlib") / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def _package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        shown = {"skimage": "scikit-image"}.get(name, name)
        raise DemoError(f"The demo needs the package {shown}. Install it with: {INSTALL}")
    return Path(spec.submodule_search_locations[0])


def render_clip(photos: Photos, destination: Path, *, seconds: float = 4.0, fps: int = 10) -> None:
    """Make a video with sound: the camera pans over two portraits while two tones play.

    ``destination`` becomes an MP4 with H.264 640x360 at ``fps`` and AAC.
    """
    half = seconds / 2
    # A wide picture, moved under the frame along a cosine: no jump at either end.
    pan = (
        f"scale=760:-2,crop={CLIP_WIDTH}:{CLIP_HEIGHT}:"
        f"x='(iw-ow)*(0.5+0.5*sin(2*PI*t/{half}))':"
        f"y='(ih-oh)*(0.10-0.08*cos(2*PI*t/{half}))',setsar=1,format=yuv420p"
    )
    graph = (
        f"[0:v]{pan}[first];[1:v]{pan}[second];[first][second]concat=n=2:v=1:a=0[picture];"
        "[2:a][3:a]concat=n=2:v=0:a=1,volume=0.2[sound]"
    )
    tone = "sine=frequency={}:sample_rate=44100:duration={}"
    stills = [
        part
        for photo in (photos.astronaut, photos.hopper)
        for part in ("-loop", "1", "-framerate", str(fps), "-t", str(half), "-i", str(photo))
    ]
    tones = [
        part
        for frequency in (440, 660)
        for part in ("-f", "lavfi", "-i", tone.format(frequency, half))
    ]
    encode = (
        "-c:v libx264 -preset veryfast -crf 20 -c:a aac -b:a 96k -shortest -movflags +faststart -y"
    )
    _run(
        [
            *(*stills, *tones),
            *("-filter_complex", graph, "-map", "[picture]", "-map", "[sound]"),
            *(*encode.split(), str(destination)),
        ]
    )


def make_grey(photo: Path, destination: Path, *, width: int) -> None:
    """Take the colours out of a photograph, as a picture to colourise."""
    _run(["-i", str(photo), "-vf", f"scale={width}:-2,format=gray", "-y", str(destination)])


def frame_at(video: Path, second: float, destination: Path) -> None:
    """Save one frame of a video as a picture."""
    _run(["-ss", str(second), "-i", str(video), "-frames:v", "1", "-y", str(destination)])


def _run(arguments: list[str]) -> None:
    finished = ffmpeg.run(
        [*ffmpeg.command(), *arguments],
        bounds=ffmpeg.Bounds(),
        timeout_s=RENDER_TIMEOUT_S,
        read=_ignore,
    )
    if finished.status != 0:
        raise DemoError(f"ffmpeg could not prepare the demo's media: {finished.messages.text()}")


def _ignore(stream: IO[bytes]) -> None:
    stream.read()


def own_media(folder: Path) -> Iterator[Path]:
    """The pictures and videos below a folder of yours, in the order of their names.

    Raises:
        DemoError: the folder is not there.
    """
    if not folder.is_dir():
        raise DemoError(f"{folder} is not a folder. Give --media a folder with pictures or videos.")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICTURES | VIDEOS and path.is_file():
            yield path


def is_video(path: Path) -> bool:
    """Whether the name is one of a video."""
    return path.suffix.lower() in VIDEOS
