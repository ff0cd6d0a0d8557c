"""What detecting means here: a question and detections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detect.labels import label_of
from engines.detect.mask import Mask, coco_rle

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detection:
    """One object in one picture."""

    class_id: int
    label: str
    confidence: float  # 0..1
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the input
    mask: Mask | None = None  # of networks that segment
    # x, y in pixels of the input, then, where the network says so, how sure it is to be seen
    keypoints: tuple[tuple[float, ...], ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """As customers see it; five decimals are more than any model knows."""
        told: dict[str, Any] = {
            "class_id": self.class_id,
            "label": self.label,
            "confidence": round(self.confidence, 5),
            "box": [round(value, 5) for value in self.box],
        }
        if self.mask is not None:
            told["mask"] = coco_rle(self.mask)
        if self.keypoints is not None:
            told["keypoints"] = [[round(value, 5) for value in point] for point in self.keypoints]
        return told


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for and how."""

    size: tuple[int, int]  # inference height, width
    conf: float = 0.25  # strictly above
    iou: float = 0.7
    max_det: int = 300
    classes: tuple[int, ...] | None = None
    masks_of_picture: bool = True  # else of the network's canvas


def as_detections(
    boxes: Floats, scores: Floats, classes: NDArray[np.int64], labels: Sequence[str]
) -> list[Detection]:
    """Rows of picture boxes [n, 4] as values."""
    return [
        Detection(
            class_id=class_id,
            label=label_of(labels, class_id),
            confidence=score,
            box=(box[0], box[1], box[2], box[3]),
        )
        for box, score, class_id in zip(
            boxes.tolist(), scores.tolist(), classes.tolist(), strict=True
        )
    ]
