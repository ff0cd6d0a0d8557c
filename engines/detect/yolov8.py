"""The family of Ultralytics exports to ONNX: YOLOv8 to v11, v10 and 26, detect, segment and pose.

images   [n, 3, height, width]  RGB, 0..1, height and width multiples of 32
outputs  see ``head.py``
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from engines.detect.detection import Detection, Pixels, Question, as_detections
from engines.detect.head import Head, Task, head_of
from engines.detect.letterbox import Fit, fit_centred
from engines.detect.network import Family
from engines.detect.prototypes import masks_of
from engines.detect.rows import Chosen, choose
from engines.runners.base import Array, Runner

_SHARES = np.arange(256, dtype=np.float32) / 255  # of white, by byte


def yolov8(runner: Runner) -> Family:
    """How this network is fed and read; raises ``ContractError`` for one of another kind."""
    read_it = partial(read, head=head_of(runner))
    return Family("YOLO", fit=fit_centred, feed=feed, read=read_it)


def feed(canvas: Pixels) -> Array:
    """BGR rows [h, w, 3] as RGB planes [3, h, w] in 0..1, each byte divided by 255 exactly."""
    import cv2

    planes: Array = np.empty((3, *canvas.shape[:2]), dtype=np.float32)
    for plane, channel in zip(planes[::-1], cv2.split(canvas), strict=True):
        cv2.LUT(channel, _SHARES, plane)
    return planes


def read(
    outputs: Sequence[Array],
    fit: Fit,
    question: Question,
    labels: tuple[str, ...],
    *,
    head: Head,
) -> list[Detection]:
    """The outputs of one picture as detections, with what the task adds."""
    chosen = choose(outputs[0], head, question)
    boxes = fit.to_picture(chosen.boxes)
    found = as_detections(boxes, chosen.scores, chosen.classes, labels)
    if head.task is Task.SEGMENT:
        of_picture = question.masks_of_picture
        cropping = boxes if of_picture else chosen.boxes
        masks = masks_of(chosen.extras, outputs[1], cropping, fit, of_picture=of_picture)
        pairs = zip(found, masks, strict=True)
        # an object whose mask is empty is none
        return [replace(each, mask=mask) for each, mask in pairs if mask.bits.any()]
    if head.keypoint is not None:
        return _with_keypoints(found, chosen, head.keypoint, fit)
    return found


def _with_keypoints(
    found: list[Detection], chosen: Chosen, keypoint: tuple[int, int], fit: Fit
) -> list[Detection]:
    points = chosen.extras.reshape(-1, *keypoint).copy()
    points[..., :2] = fit.points_to_picture(points[..., :2])
    return [
        replace(each, keypoints=tuple(tuple(point) for point in rows))
        for each, rows in zip(found, points.tolist(), strict=True)
    ]
