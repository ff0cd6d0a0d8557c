"""The detector that needs no weights: what OpenCV carries inside its wheel.

Two classes: ``person`` (upright and whole, by HOG and a linear SVM) and ``face`` (frontal, by a
Haar cascade). It is much weaker than any network: people who sit, turn or are cut off are missed.
Both scores are mapped onto 0..1 so that the default threshold of 0.25 lies between the weakest
true and the strongest false finding on a few dozen photographs; they are no probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detect.detection import Detection, Floats, Pixels, Question
from engines.detect.nms import keep_best
from engines.detect.yolov8 import as_detections
from engines.metering import Execution, StageClock

PERSON, FACE = 0, 80  # 80: the first id behind the classes of COCO, which knows no faces
_CASCADE = "haarcascade_frontalface_alt2.xml"
_SCALE_UP_MAX = 2.0  # magnified further, noise begins to look like something
_FACE_MIN_PX = 24
# steepness and the score that maps to one half
_PERSON_CURVE = (4.0, 1.4)
_FACE_CURVE = (5.0, 55.2)
# The HOG window was trained with air around the person: as shares of the window's width, height.
_PERSON_AIR = (0.16, 0.07)

Found = tuple[Floats, NDArray[np.float64]]  # boxes x1 y1 x2 y2, raw scores


class Builtin:
    """OpenCV's HOG people detector and frontal face cascade."""

    def __init__(self) -> None:
        import cv2

        self._hog: Any = cv2.HOGDescriptor()
        self._hog.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector()))
        cascade = Path(cv2.__file__).parent / "data" / _CASCADE
        self._cascade: Any = cv2.CascadeClassifier(str(cascade))
        self.labels = ("person",) + ("",) * (FACE - 1) + ("face",)
        self.execution = Execution.opencv()

    def detect(
        self, frames: Sequence[Pixels], question: Question, clock: StageClock
    ) -> list[list[Detection]]:
        """Detections of each frame."""
        return [self._detect_one(frame, question, clock) for frame in frames]

    def _detect_one(self, frame: Pixels, question: Question, clock: StageClock) -> list[Detection]:
        import cv2

        height, width = frame.shape[:2]
        with clock.aside("preprocess"):
            limit = min(question.size[0] / height, question.size[1] / width, _SCALE_UP_MAX)
            size = (max(round(width * limit), 1), max(round(height * limit), 1))
            shrinking = cv2.INTER_AREA if limit < 1 else cv2.INTER_LINEAR
            scaled = np.asarray(cv2.resize(frame, size, interpolation=shrinking), np.uint8)
            grey = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_BGR2GRAY), np.uint8)
        with clock.stage("infer"):
            people, people_scores = self._people(scaled)
            faces, face_scores = self._faces(grey)
        with clock.aside("postprocess"):
            gains = np.array([size[0] / width, size[1] / height] * 2, dtype=np.float32)
            boxes = np.concatenate([people, faces]) / gains
            scores = np.concatenate(
                [_confidence(people_scores, _PERSON_CURVE), _confidence(face_scores, _FACE_CURVE)]
            )
            classes = np.repeat([PERSON, FACE], [len(people), len(faces)]).astype(np.int64)
            clipped = np.clip(boxes, 0, np.array([width, height] * 2)).astype(np.float32)
            return _choose(clipped, scores, classes, question, self.labels)

    def _people(self, scaled: Pixels) -> Found:
        window_width, window_height = self._hog.winSize
        if scaled.shape[0] < window_height or scaled.shape[1] < window_width:
            return _found((), ())
        boxes, scores = self._hog.detectMultiScale(
            scaled, hitThreshold=0.0, winStride=(8, 8), padding=(16, 16), scale=1.05
        )
        people, weights = _found(boxes, scores)
        air = (people[:, 2:] - people[:, :2]) * np.array(_PERSON_AIR, dtype=np.float32)
        return np.concatenate([people[:, :2] + air, people[:, 2:] - air], axis=1), weights

    def _faces(self, grey: Pixels) -> Found:
        boxes, _, scores = self._cascade.detectMultiScale3(
            grey,
            scaleFactor=1.1,
            minNeighbors=3,
            minSize=(_FACE_MIN_PX, _FACE_MIN_PX),
            outputRejectLevels=True,
        )
        return _found(boxes, scores)


def _found(boxes: Any, scores: Any) -> Found:  # noqa: ANN401 - OpenCV gives () for nothing
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners, np.asarray(scores, dtype=np.float64).reshape(-1)


def _confidence(scores: NDArray[np.float64], curve: tuple[float, float]) -> Floats:
    steepness, middle = curve
    mapped: Floats = (1 / (1 + np.exp(steepness * (middle - scores)))).astype(np.float32)
    return mapped


def _choose(
    boxes: Floats,
    scores: Floats,
    classes: NDArray[np.int64],
    question: Question,
    labels: tuple[str, ...],
) -> list[Detection]:
    wanted = scores > question.conf
    if question.classes is not None:
        wanted &= np.isin(classes, question.classes)
    boxes, scores, classes = boxes[wanted], scores[wanted], classes[wanted]
    kept = keep_best(boxes, scores, classes, iou=question.iou, limit=question.max_det)
    return as_detections(boxes[kept], scores[kept], classes[kept], labels)
