"""Write what the peer says, as numbers: ``tests/engines/detect/goldens/*.json``.

    PIXELMETER_MODEL_MIRROR=... PIXELMETER_TEST_MEDIA=... python tests/peers/write_goldens.py

Numbers only: no pixel and no weight of others is kept. Masks are kept as pixel counts and sums of
their rows and columns, which two different masks do not share.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from networks import tiny_yolo
from peer import Answer, Peer

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "engines" / "detect" / "goldens"
TINY = {"conf": 0.6, "iou": 0.25, "max_det": 25}
REAL = {"yolov8n_recon.onnx": {}, "yolov8n_recon_dyn.onnx": {"rect": False}}
FOLDERS = ("bw", "faces", "scenes")


def test_pictures(media: Path) -> list[Path]:
    """Every picture of the media folder that is none of the hostile ones."""
    files = (path for folder in FOLDERS for path in sorted((media / folder).iterdir()))
    return [path for path in files if path.suffix in {".jpg", ".png"}]


def skimage_pictures() -> list[Path]:
    """Photographs inside scikit-image, of two shapes."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [folder / "astronaut.png", folder / "chelsea.png"]


def as_numbers(answer: Answer) -> dict[str, Any]:
    """JSON-ready, rounded well below what is compared."""
    told: dict[str, Any] = {"boxes": np.round(answer.boxes.astype(float), 5).tolist()}
    if answer.masks is not None:
        told["masks"] = [mask_numbers(mask) for mask in answer.masks]
    if answer.keypoints is not None:
        told["keypoints"] = np.round(answer.keypoints.astype(float), 4).tolist()
    return told


def mask_numbers(mask: np.ndarray) -> list[float]:
    """Pixels, sum of columns, sum of rows."""
    rows, columns = np.nonzero(mask)
    return [len(rows), int(columns.sum()), int(rows.sum())]


def main() -> int:
    GOLDENS.mkdir(exist_ok=True)
    mirror, media = (
        os.environ.get(f"PIXELMETER_{name}") for name in ("MODEL_MIRROR", "TEST_MEDIA")
    )
    with Peer() as peer, tempfile.TemporaryDirectory() as folder:
        tiny = {}
        for task in ("detect", "segment", "pose"):
            for decided in (False, True):
                model = tiny_yolo(
                    Path(folder) / f"{task}{decided}.onnx", task=task, decided=decided
                )
                options = {**TINY, "retina_masks": True}
                answers = peer.predict(model, task, skimage_pictures(), **options)
                tiny[f"{task}-{'decided' if decided else 'raw'}"] = {
                    path.name: as_numbers(answer)
                    for path, answer in zip(skimage_pictures(), answers, strict=True)
                }
        _write("tiny", tiny)
        if mirror and media:
            pictures = test_pictures(Path(media))
            real = {}
            for name, options in REAL.items():
                answers = peer.predict(Path(mirror) / name, "detect", pictures, **options)
                real[name] = {
                    path.name: as_numbers(answer)
                    for path, answer in zip(pictures, answers, strict=True)
                }
            _write("yolov8n", real)
    return 0


def _write(name: str, numbers: dict[str, Any]) -> None:
    path = GOLDENS / f"{name}.json"
    lines = [
        f"{json.dumps(model)}: {{\n"
        + ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in each.items())
        + "\n}"
        for model, each in numbers.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
