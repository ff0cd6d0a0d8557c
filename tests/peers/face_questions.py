"""What is asked of both, insightface and ours: detectors of every head, and real photographs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from face_networks import scrfd

from engines.faces.detectors.yunet import YuNet
from engines.media.images import read_image
from engines.runners.ort import open_onnx

ARCFACE, INSWAPPER = "stubs/stub_w600k_r50.onnx", "stubs/stub_inswapper_128.onnx"
YUNET = "face_detection_yunet_2023mar.onnx"
FACES_MAX = 4  # of one picture: aligned, embedded and swapped


@dataclass(frozen=True, slots=True)
class Question:
    """One way of detecting."""

    name: str
    network: dict[str, Any]  # of ``face_networks.scrfd``
    peer: str  # the class of insightface
    sizes: tuple[tuple[int, int], ...] | None
    most: int = 0
    metric: str = "default"


QUESTIONS = (
    Question("9 outputs, two passes", {"outputs": 9}, "SCRFD", None),
    Question("9 outputs, 640", {"outputs": 9}, "RetinaFace", ((640, 640),)),
    Question("9 outputs, not square", {"outputs": 9}, "SCRFD", ((640, 384),)),
    Question("9 outputs, high", {"outputs": 9}, "SCRFD", ((256, 512), (320, 320))),
    Question("9 outputs, batched", {"outputs": 9, "batched": True}, "SCRFD", ((640, 640),)),
    Question("9 outputs, fixed", {"outputs": 9, "size": (320, 256)}, "SCRFD", None),
    Question("15 outputs", {"outputs": 15}, "SCRFD", ((640, 640),)),
    Question("two of many", {"outputs": 15}, "SCRFD", ((640, 640),), 2),
    Question("two largest of many", {"outputs": 15}, "SCRFD", ((640, 640),), 2, "max"),
)


def photographs(media: Path) -> list[Path]:
    """Every picture of the media folder's faces."""
    return sorted((media / "faces").iterdir())


def networks(folder: Path) -> list[Path]:
    """The detectors of the questions, in their order."""
    return [
        scrfd(folder / f"{number}.onnx", **question.network)
        for number, question in enumerate(QUESTIONS)
    ]


def points_of(
    media: Path, mirror: Path, keep: Callable[[list[Any]], list[Any]] = lambda faces: faces
) -> list[list[Any]]:
    """The five points of the first faces of each photograph, as YuNet finds them."""
    detector = YuNet(open_onnx(mirror / YUNET, threads=2), name="yunet@2023mar")
    return [
        [
            face.points.tolist()
            for face in keep(detector.detect(read_image(path).pixels))[:FACES_MAX]
        ]
        for path in photographs(media)
    ]


def request(media: Path, mirror: Path, folder: Path) -> dict[str, Any]:
    """The whole question as ``inside/faces.py`` takes it."""
    detect = [
        {
            "network": path,
            "class": question.peer,
            "sizes": question.sizes,
            "max_num": question.most,
            "metric": question.metric,
        }
        for path, question in zip(networks(folder), QUESTIONS, strict=True)
    ]
    return {
        "pictures": photographs(media),
        "detect": detect,
        "points": points_of(media, mirror),
        "arcface": mirror / ARCFACE,
        "inswapper": mirror / INSWAPPER,
    }
