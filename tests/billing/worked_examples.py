"""Every worked example of the price list, once: for the pure functions and for the running API.

``quantities`` and ``attributes`` are what an engine measures; ``ask`` is how a customer asks for
the same work, where an engine offers it.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ask:
    """A job: the size of its picture, its parameters, and whether this machine can run it."""

    engine: str
    size: tuple[int, int]
    params: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    faces: int = 0  # how many the target shows
    source_known: bool = False  # an earlier job of the tenant had the same source
    runs: bool = True  # False: weights are missing, or the kind is found out by the run alone


@dataclass(frozen=True)
class Example:
    """One line of the price list."""

    name: str
    card: str
    tokens: float
    quantities: dict[str, float]
    attributes: dict[str, str | int]
    ask: Ask | None = None


def _face(name: str, tokens: float, *, level: int = 1, extra: int = 0, cached: int = 0) -> Example:
    params = {"enhance_level": level}
    if extra:
        params |= {"faces": "many", "max_faces": 1 + extra}
    return Example(
        f"face fusion: {name}",
        "facefusion",
        tokens,
        {"images": 1, "faces": 1 + extra, "extra_faces": extra, "cached_embeddings": cached},
        {"media": "image", "enhance_level": level},
        # One source face, so at most one of them can be known.
        Ask("face-swap", (512, 512), params, faces=1 + extra, source_known=cached == 1)
        if cached <= 1
        else None,
    )


def _face_video(
    name: str, tokens: float, size: tuple[int, int], *, level: int = 1, extra: int = 0
) -> Example:
    return Example(
        f"face fusion of a video: {name}",
        "facefusion",
        tokens,
        {"seconds": 10, "frames": 250, "extra_faces": extra * 250},
        {"media": "video", "enhance_level": level, "width": size[0], "height": size[1]},
    )


def _stages(name: str, tokens: float, **stages: float) -> Example:
    times = {f"gpu_ms.{stage}": ms for stage, ms in stages.items()}
    return Example(
        f"face fusion by compute time: {name}",
        "facefusion-gpu",
        tokens,
        {"images": 1, "faces": 1, **times, "gpu_ms": sum(stages.values())},
        {"media": "image"},
    )


def _colour(
    name: str, tokens: float, size: tuple[int, int], kind: str, *, upscale: int = 1
) -> Example:
    params: dict[str, Any] = {"type": kind} | ({"upscale": upscale} if upscale > 1 else {})
    return Example(
        f"colorize: {name}",
        "ddcolor",
        tokens,
        {
            "images": 1,
            "megapixels": size[0] * size[1] / 1_000_000,
            "upscaled": int(upscale > 1),
        },
        {"media": "image", "type": kind},
        Ask("colorize", size, params, runs=kind != "auto"),
    )


def _detect(tokens: float, model: str, img_size: int) -> Example:
    return Example(
        f"detect: {img_size} {model}",
        "yolo",
        tokens,
        {"images": 1, "input_pixels": img_size * img_size},
        {"media": "image", "model": model},
        Ask("detect", (800, 600), {"img_size": img_size}, model, runs=model == "builtin"),
    )


EXAMPLES = (
    _face("one image, one face", 6),
    _face("level 2", 9, level=2),
    _face("level 3", 11, level=3),
    _face("three faces, level 2", 19, level=2, extra=2),
    _face("the second job with the same source face", 3, cached=1),
    _face("never below 1", 1, cached=9),
    _face_video("10 s of 720p", 2000, (1280, 720)),
    _face_video("10 s of 1080p", 4500, (1920, 1080)),
    _face_video("10 s of 720p, level 2", 3000, (1280, 720), level=2),
    _face_video("10 s of 720p, level 3", 3667, (1280, 720), level=3),
    _face_video("10 s of 720p, two faces", 3667, (1280, 720), extra=1),
    _stages("20 + 30 + 60 + 10 ms", 7, detect=20, embed=30, swap=60, blend=10),
    _stages("with masks, 20 + 60 + 40 ms", 6, detect=20, swap=60, mask=40),
    _stages("half a token is rounded up", 1, detect=10),
    _stages("less is rounded down", 0, detect=9.99),
    _colour("800x600 person, 10.96", 11, (800, 600), "person"),
    _colour("1920x1080 building", 19, (1920, 1080), "building"),
    _colour("1920x1080 building, upscaled", 24, (1920, 1080), "building", upscale=2),
    _colour("auto is quoted as the dearer kind", 16, (800, 600), "auto"),
    _colour("at least 10", 10, (32, 32), "person"),
    Example(
        "colorize: 800x600 person without grain and scratches, 15.96",
        "ddcolor",
        16,
        {"images": 1, "megapixels": 0.48, "denoised": 1, "descratched": 1},
        {"media": "image", "type": "person"},
        Ask(
            "colorize",
            (800, 600),
            {"type": "person", "denoise": True, "scratch": True},
            runs=False,
        ),
    ),
    Example(
        "colorize: 10 s of 720p, 460.8",
        "ddcolor",
        461,
        {"frames": 250},
        {"media": "video", "type": "person", "width": 1280, "height": 720},
    ),
    _detect(1, "yolov8s", 640),
    _detect(5.625, "yolov8l", 960),
    _detect(0.175, "yolov8n", 320),
    _detect(0.7, "yolov8n", 640),
    _detect(1.8, "yolov8m", 640),
    _detect(4, "yolov8x", 640),
    _detect(0.3, "builtin", 640),
    _detect(0.01, "yolov8n", 32),
    Example(
        "detect: a video costs its frames",
        "yolo",
        250,
        {"frames": 250, "input_pixels": 640 * 640},
        {"media": "video", "model": "yolov8s"},
    ),
    Example("simple: an image", "flat", 1, {"images": 1}, {"media": "image"}),
    Example("simple: 10 s of video", "flat", 100, {"seconds": 10}, {"media": "video"}),
)

# items of one batch -> tokens of one picture at 640 with yolov8s
BATCHES = ((1, 1), (9, 1), (10, 0.95), (99, 0.95), (100, 0.9), (999, 0.9), (1000, 0.85))

# price list, tokens used in the month -> yuan
MONTHS = (
    ("standard", 0, "0.00"),
    ("standard", 999, "9.99"),
    ("standard", 1_000, "10.00"),
    ("standard", 1_001, "10.01"),  # 10.008
    ("standard", 9_999, "81.99"),  # 81.992
    ("standard", 10_000, "82.00"),
    ("standard", 10_001, "82.01"),  # 82.006
    ("standard", 15_000, "112.00"),
    ("standard", 99_999, "621.99"),  # 621.994
    ("standard", 100_000, "622.00"),
    ("standard", 100_001, "622.00"),  # 622.004
    ("standard", 150_000, "822.00"),
    ("standard", 1_500_000, "6222.00"),
    ("flat", 1_500_000, "15000.00"),
)
