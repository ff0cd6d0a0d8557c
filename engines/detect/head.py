"""How an Ultralytics export answers: which task, how many classes, which layout of its rows.

output0  [n, 4 + classes + extras, anchors]  raw: cx cy w h in canvas pixels, then probabilities
or       [n, k, 6 + extras]  NMS-free or with suppression inside: x1 y1 x2 y2 score class
extras   segment: coefficients of the masks in output1 [n, coefficients, rows, columns]
         pose: x y (visibility) of each keypoint
The file itself says which (metadata ``task``, ``end2end``, ``names``, ``kpt_shape``).
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from engines.detect.detection import Floats
from engines.detect.labels import COCO, names_in
from engines.errors import EngineFaultError
from engines.runners.base import Runner

CORNERS = 4  # numbers of a box
DECIDED = 6  # box, score and class
_ROWS_RANK, _PROTOTYPES_RANK = 3, 4


class Task(StrEnum):
    """What a network finds besides boxes."""

    DETECT = "detect"  # nothing
    SEGMENT = "segment"  # a mask of each object
    POSE = "pose"  # points of each body


class ContractError(EngineFaultError):
    """Raised when weights are of another kind than their model declares; they stay so."""

    code = "weights_unreadable"
    retryable = False


class NoNumbersError(EngineFaultError):
    """Raised when a network's answer holds NaN or infinity; it would again."""

    code = "network_output_invalid"
    retryable = False


def check_numbers(values: Floats) -> None:
    """Raise ``NoNumbersError`` unless every value is a number.

    Asked about what decides (scores of all rows, boxes of the chosen ones): to ask about every
    number of an answer would cost as much as reading it.
    """
    if not np.isfinite(values).all():
        raise NoNumbersError(
            "the network gave NaN or infinity for this picture; nothing is charged. Export its "
            "weights again, in fp32 if they are fp16"
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The layout of one network's answer."""

    task: Task
    decided: bool  # rows are chosen boxes, not anchors
    classes: int
    extras: int = 0  # numbers per row behind the classes
    keypoint: tuple[int, int] | None = None  # how many, numbers of each

    @property
    def columns(self) -> int:
        """Numbers of one row."""
        return (DECIDED if self.decided else CORNERS + self.classes) + self.extras


def head_of(runner: Runner) -> Head:
    """Read from the file what it is; raises ``ContractError``."""
    task = _task(runner)
    rows = runner.outputs[0].shape
    if len(rows) != _ROWS_RANK:
        raise _another(runner, "its first output should have three dimensions")
    keypoint = _keypoint(runner.metadata) if task is Task.POSE else None
    extras = 0
    if task is Task.SEGMENT:
        extras = _coefficients(runner)
    elif keypoint is not None:
        extras = keypoint[0] * keypoint[1]
    named = names_in(runner.metadata)
    # exports of other tools carry no metadata; rows of six are rows of chosen boxes
    decided = runner.metadata.get("end2end") == "True" or rows[2] == DECIDED + extras
    if decided:
        return _checked(runner, Head(task, decided, len(named or COCO), extras, keypoint))
    # where the file does not fix the number of rows, the names do
    classes = len(named or COCO) if rows[1] is None else rows[1] - CORNERS - extras
    if classes < 1 or (named and len(named) != classes):
        why = f"its rows have room for {classes} classes, and it names {len(named)}"
        raise _another(runner, why)
    return _checked(runner, Head(task, decided, classes, extras, keypoint))


def _checked(runner: Runner, head: Head) -> Head:
    rows = runner.outputs[0].shape
    found = rows[2] if head.decided else rows[1]
    if found is not None and found != head.columns:
        raise _another(runner, f"its rows have {found} numbers, {head.columns} were expected")
    return head


def _task(runner: Runner) -> Task:
    told = runner.metadata.get("task")
    if told is None:
        return Task.SEGMENT if len(runner.outputs) > 1 else Task.DETECT
    try:
        return Task(told)
    except ValueError:
        raise _another(runner, f"it is made for the task {told!r}") from None


def _coefficients(runner: Runner) -> int:
    shape = runner.outputs[1].shape if len(runner.outputs) > 1 else ()
    if len(shape) != _PROTOTYPES_RANK or shape[1] is None:
        raise _another(runner, "a second output with the prototypes of its masks is missing")
    return shape[1]


def _keypoint(metadata: Mapping[str, str]) -> tuple[int, int]:
    try:
        count, numbers = ast.literal_eval(metadata.get("kpt_shape", "[17, 3]"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        count, numbers = 17, 3
    return (int(count), int(numbers))


def _another(runner: Runner, why: str) -> ContractError:
    given = ", ".join(str(spec.shape) for spec in runner.outputs)
    return ContractError(
        f"these weights are no YOLO export for detection, segmentation or pose: {why} (it gives "
        f"{given}); export the model to ONNX again and register that"
    )
