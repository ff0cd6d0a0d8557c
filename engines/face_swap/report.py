"""What a run of face-swap tells about itself, and what it is charged by."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.face_swap.params import FaceSwapParams
from engines.face_swap.selection import Chosen
from engines.face_swap.source import Source
from engines.face_swap.tools import Tools
from engines.manifest import ModelVersion
from engines.spec import MediaInfo, MediaKind, Work


def picture_work(
    model: ModelVersion,
    wanted: FaceSwapParams,
    *,
    size: tuple[int, int],
    faces: int,
    cached: int = 0,
) -> Work:
    """One picture; ``size`` is width and height, ``cached`` the source persons known by heart."""
    return Work(
        {
            "images": 1,
            "faces": faces,
            "extra_faces": max(0, faces - 1),
            **({"cached_embeddings": cached} if cached else {}),
        },
        _attributes(model, wanted, MediaKind.IMAGE, size),
    )


def video_work(
    model: ModelVersion,
    wanted: FaceSwapParams,
    *,
    size: tuple[int, int],
    frames: int,
    seconds: float,
    faces: int,
    extra_faces: int,
    cached: int = 0,
) -> Work:
    """Frames of one size; faces, and those beyond the first of a frame, are counted in each."""
    return Work(
        {
            "frames": frames,
            "seconds": seconds,
            "faces": faces,
            "extra_faces": extra_faces,
            **({"cached_embeddings": cached} if cached else {}),
        },
        _attributes(model, wanted, MediaKind.VIDEO, size),
    )


def planned_video_work(
    model: ModelVersion, wanted: FaceSwapParams, target: MediaInfo, *, most_faces: int
) -> Work:
    """The most a video can be: every frame with as many faces as may be replaced."""
    frames = target.frames or 0
    return video_work(
        model,
        wanted,
        size=(target.width, target.height),
        frames=frames,
        seconds=target.duration_s or 0.0,
        faces=most_faces * frames,
        extra_faces=(most_faces - 1) * frames,
    )


def used(model: ModelVersion, tools: Tools, sources: Sequence[Source]) -> dict[str, Any]:
    """What did the work, and whose faces were taken."""
    weights = [file.sha256 for file in model.weights]
    switched = tools.swapper.switched
    return {
        "model": model.id,
        "weights_sha256": weights[0] if weights else None,
        "detector": tools.detector.name,
        "embedder": tools.embedder.name if tools.embedder else None,
        "enhancer": tools.finisher.name,
        "mask": [mask.value for mask in tools.masks],
        "source": sources[0].describe(),
        "sources": [source.describe() for source in sources],
        "notes": [] if switched is None else [switched],
    }


def described(chosen: Chosen) -> dict[str, Any]:
    """A replaced face as JSON-ready numbers."""
    told: dict[str, Any] = {**chosen.face.describe(), "role": chosen.role}
    if chosen.likeness is not None:
        told["likeness"] = round(chosen.likeness, 3)
    return told


def _attributes(
    model: ModelVersion, wanted: FaceSwapParams, kind: MediaKind, size: tuple[int, int]
) -> Mapping[str, str | int]:
    return {
        "media": kind.value,
        "model": model.name,
        "enhance_level": wanted.enhance_level,
        "width": size[0],
        "height": size[1],
    }
