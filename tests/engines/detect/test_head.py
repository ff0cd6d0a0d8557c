import numpy as np
import pytest

from engines.detect.head import ContractError, Task, head_of
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner

NAMES = str(dict(enumerate(["a", "b", "c"])))


def network(rows, *others, **metadata):
    outputs = [
        TensorSpec(f"o{at}", shape, np.dtype("f4")) for at, shape in enumerate((rows, *others))
    ]
    pictures = (TensorSpec("images", (1, 3, 64, 64), np.dtype("f4")),)
    return FakeRunner(lambda feeds: {}, inputs=pictures, outputs=tuple(outputs), metadata=metadata)


@pytest.mark.parametrize(
    ("runner", "task", "decided", "classes", "extras"),
    [
        (network((1, 7, 84), task="detect", names=NAMES), Task.DETECT, False, 3, 0),
        (network((1, 84, 8400)), Task.DETECT, False, 80, 0),
        (network((1, 7, 84), end2end="False", names=NAMES), Task.DETECT, False, 3, 0),
        (network((1, 300, 6), end2end="True", names=NAMES), Task.DETECT, True, 3, 0),
        (network((None, 300, 6), names=NAMES), Task.DETECT, True, 3, 0),
        (network((1, 39, 84), (1, 32, 16, 16), names=NAMES), Task.SEGMENT, False, 3, 32),
        (
            network((1, 300, 38), (1, 32, 16, 16), task="segment", end2end="True", names=NAMES),
            Task.SEGMENT,
            True,
            3,
            32,
        ),
        (network((1, 56, 84), task="pose", names="{0: 'person'}"), Task.POSE, False, 1, 51),
        (
            network((1, 300, 14), task="pose", end2end="True", kpt_shape="[4, 2]", names=NAMES),
            Task.POSE,
            True,
            3,
            8,
        ),
    ],
)
def test_the_file_says_what_it_is(runner, task, decided, classes, extras):
    head = head_of(runner)
    assert (head.task, head.decided, head.classes, head.extras) == (task, decided, classes, extras)


@pytest.mark.parametrize(
    ("runner", "why"),
    [
        (network((1, 84, 8400), names=NAMES), "room for 80 classes, and it names 3"),
        (network((1, 1000), task="classify"), "task 'classify'"),
        (network((1, 20, 84), task="obb"), "task 'obb'"),
        (network((1, 1000)), "three dimensions"),
        (network((1, 39, 84), task="segment", names=NAMES), "prototypes"),
        (network((1, 4, 84)), "room for 0 classes"),
        (network((1, 300, 7), end2end="True"), "rows have 7 numbers, 6 were expected"),
    ],
)
def test_a_network_of_another_kind_is_refused_by_name(runner, why):
    with pytest.raises(ContractError, match=why) as refused:
        head_of(runner)
    assert (refused.value.code, refused.value.retryable) == ("weights_unreadable", False)
