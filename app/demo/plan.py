"""Which files go through which engine with which parameters."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.demo.errors import DemoError
from app.demo.media import Photos, is_video, make_grey, own_media, render_clip

GREY_WIDTH = 800
CLIP_IMG_SIZE = 416  # enough for faces that fill the frame, and a third of the price of 640


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One job of the demo."""

    title: str  # beside its progress bar
    engine: str
    target: Path
    params: dict[str, Any]
    sources: tuple[Path, ...] = ()


def shipped_jobs(photos: Photos, work: Path) -> list[DemoJob]:
    """Ten jobs on photographs inside the wheels and one video rendered into ``work``."""
    clip, rocket = work / "two-portraits.mp4", work / "rocket-grey.png"
    render_clip(photos, clip)
    make_grey(photos.rocket, rocket, width=GREY_WIDTH)
    boxes = {"annotate": True}
    return [
        DemoJob("portrait", "detect", photos.astronaut, boxes),
        DemoJob("officer", "detect", photos.hopper, boxes),
        DemoJob("photographer", "detect", photos.camera, boxes),
        DemoJob("cat", "detect", photos.cat, boxes),
        DemoJob("coffee", "detect", photos.coffee, boxes),
        DemoJob("colours for a photographer", "colorize", photos.camera, {"type": "person"}),
        DemoJob("colours for a launch pad", "colorize", rocket, {"type": "building"}),
        DemoJob("officer's face on portrait", "face-swap", photos.astronaut, {}, (photos.hopper,)),
        DemoJob(
            "portrait's face on officer",
            "face-swap",
            photos.hopper,
            {"enhance_level": 2},
            (photos.astronaut,),
        ),
        DemoJob("video of two portraits", "detect", clip, {**boxes, "img_size": CLIP_IMG_SIZE}),
    ]


def own_jobs(folder: Path) -> list[DemoJob]:
    """Jobs for a folder of yours, by the names of its subfolders.

    Everything goes through ``detect``. Pictures in a folder ``bw`` are colourised too; pictures
    in a folder ``faces`` get the face of the first one there, which gets the second one's.

    Raises:
        DemoError: there is no picture and no video.
    """
    found = list(own_media(folder))
    if not found:
        raise DemoError(f"There is no picture and no video in {folder}.")
    faces = [path for path in found if path.parent.name == "faces" and not is_video(path)]
    return [
        *(DemoJob(path.name, "detect", path, {"annotate": True}) for path in found),
        *(
            DemoJob(path.name, "colorize", path, {"type": "auto"})
            for path in found
            if path.parent.name == "bw" and not is_video(path)
        ),
        *_face_jobs(faces),
    ]


def _face_jobs(faces: list[Path]) -> Iterator[DemoJob]:
    for index, path in enumerate(faces):
        source = faces[0] if index else faces[1 % len(faces)]
        if source != path:
            yield DemoJob(f"{source.stem} on {path.name}", "face-swap", path, {}, (source,))
