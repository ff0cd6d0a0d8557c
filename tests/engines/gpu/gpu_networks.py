"""The networks that are run for real: file, input shapes, range of values, profile."""

from dataclasses import dataclass

from engines.profiles import Profile


@dataclass(frozen=True)
class Case:
    file: str
    input: str
    shapes: tuple[tuple[int, ...], ...]
    values: tuple[float, float] = (0.0, 1.0)
    profile: Profile | None = None
    # Largest difference to the CPU, as a share of the output's largest value.
    tolerance: float = 2e-4


def free(name, least, usual, most):
    return Profile(name, least, usual, most)


CASES = [
    Case("yolov8n_recon.onnx", "images", ((1, 3, 640, 640),)),
    Case(
        "yolov8n_recon_dyn.onnx",
        "images",
        ((1, 3, 640, 640), (8, 3, 640, 640), (2, 3, 384, 640)),
        profile=free("images", (1, 3, 32, 32), (4, 3, 640, 640), (8, 3, 640, 640)),
    ),
    Case("yolox_nano_416.onnx", "images", ((1, 3, 416, 416),), (0.0, 255.0)),
    Case("face_detection_yunet_2023mar.onnx", "input", ((1, 3, 640, 640),), (0.0, 255.0)),
    Case(
        "mobilefacenet_foamliu_dynbatch.onnx",
        "input0",
        ((1, 3, 112, 112), (16, 3, 112, 112)),
        (-1.0, 1.0),
        free("input0", (1, 3, 112, 112), (8, 3, 112, 112), (16, 3, 112, 112)),
        tolerance=1e-3,
    ),
    Case(
        "tiny_colorizer.onnx",
        "gray",
        ((1, 1, 384, 384), (1, 1, 512, 512)),
        profile=free("gray", (1, 1, 32, 32), (1, 1, 384, 384), (1, 1, 1024, 1024)),
    ),
    Case(
        "realesr_animevideov3_x4.onnx",
        "input",
        ((1, 3, 128, 128), (1, 3, 256, 192)),
        profile=free("input", (1, 3, 16, 16), (1, 3, 256, 256), (1, 3, 512, 512)),
    ),
]
