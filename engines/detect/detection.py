"""What detecting means here: a question and detections."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detection:
    """One object in one picture."""

    class_id: int
    label: str
    confidence: float  # 0..1
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the input

    def as_json(self) -> dict[str, Any]:
        """As customers see it; five decimals are more than any model knows."""
        return {
            "class_id": self.class_id,
            "label": self.label,
            "confidence": round(self.confidence, 5),
            "box": [round(value, 5) for value in self.box],
        }


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for and how."""

    size: tuple[int, int]  # inference height, width
    conf: float = 0.25  # strictly above
    iou: float = 0.7
    max_det: int = 300
    classes: tuple[int, ...] | None = None
