"""The detector that needs no weights: what OpenCV carries inside its wheel.

Two classes: ``person`` (upright and whole, by HOG and a linear SVM) and ``face`` (frontal, by a
Haar cascade). It is much weaker than any network: people who sit, turn or are cut off are missed.
Both scores are mapped onto 0..1 so that the default threshold of 0.25 lies between the weakest
true and the strongest false finding on a few dozen photographs; they are no probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detect.detection import Detection, Floats, Pixels, Question, as_detections
from engines.detect.detector import Raw, Ready
from engines.detect.letterbox import Fit
from engines.detect.nms import keep_best
from engines.metering import Execution

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
        self.takes_batches = False

    def prepare(self, frame: Pixels, size: tuple[int, int]) -> Ready:
        """The frame scaled to fit the size, little more than life-size, in colour and grey."""
        import cv2

        height, width = frame.shape[:2]
        limit = min(size[0] / height, size[1] / width, _SCALE_UP_MAX)
        scaled_size = (max(round(height * limit), 1), max(round(width * limit), 1))
        shrinking = cv2.INTER_AREA if limit < 1 else cv2.INTER_LINEAR
        scaled = np.asarray(cv2.resize(frame, scaled_size[::-1], interpolation=shrinking), np.uint8)
        grey = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_BGR2GRAY), np.uint8)
        fit = Fit(canvas=scaled_size, picture=(height, width), scaled=scaled_size, top=0, left=0)
        return Ready(fit, (scaled, grey))

    def infer(self, ready: Sequence[Ready]) -> list[Raw]:
        """People and faces of each frame."""
        raws = []
        for each in ready:
            started = perf_counter()
            scaled, grey = each.feed
            found = (self._people(scaled), self._faces(grey))
            raws.append(Raw(found, (perf_counter() - started) * 1000))
        return raws

    def read(self, raw: Raw, ready: Ready, question: Question) -> list[Detection]:
        """Detections of one frame."""
        (people, people_scores), (faces, face_scores) = raw.values
        boxes = ready.fit.to_picture(np.concatenate([people, faces]))
        scores = np.concatenate(
            [_confidence(people_scores, _PERSON_CURVE), _confidence(face_scores, _FACE_CURVE)]
        )
        classes = np.repeat([PERSON, FACE], [len(people), len(faces)]).astype(np.int64)
        return _choose(boxes, scores, classes, question, self.labels)

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
