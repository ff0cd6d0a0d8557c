import math

import pytest
from pydantic import ValidationError

from engines.detect.params import DetectParams


def test_the_defaults_are_those_of_the_public_surface():
    params = DetectParams()
    assert (params.conf, params.iou, params.max_det) == (0.25, 0.7, 300)
    assert (params.classes, params.annotate) == (None, False)
    assert params.size((640, 640)) == (640, 640)


@pytest.mark.parametrize(
    ("img_size", "size"),
    [(320, (320, 320)), ([384, 640], (384, 640)), (32, (32, 32)), (4096, (4096, 4096))],
)
def test_sizes_are_squares_or_height_and_width(img_size, size):
    params = DetectParams.model_validate({"img_size": img_size})
    assert params.size((640, 640)) == size
    assert DetectParams.model_validate_json(params.model_dump_json()) == params


@pytest.mark.parametrize(
    "wrong",
    [
        {"img_size": 0},
        {"img_size": -640},
        {"img_size": 650},
        {"img_size": 4128},
        {"img_size": 640.0},
        {"img_size": "640"},
        {"img_size": True},
        {"img_size": [640]},
        {"img_size": [640, 640, 640]},
        {"img_size": [640, 650]},
        {"conf": 1.01},
        {"conf": -0.1},
        {"conf": math.nan},
        {"conf": math.inf},
        {"conf": "0.5"},
        {"conf": True},
        {"conf": None},
        {"iou": 2},
        {"iou": [0.5]},
        {"max_det": 0},
        {"max_det": 3001},
        {"max_det": 1.5},
        {"max_det": True},
        {"classes": [-1]},
        {"classes": ["person"]},
        {"classes": [0.0]},
        {"classes": 0},
        {"classes": [0] * 1001},
        {"annotate": 1},
        {"annotate": "yes"},
        {"confidence": 0.5},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        DetectParams.model_validate(wrong)


def test_whole_numbers_are_numbers():
    assert DetectParams.model_validate({"conf": 0, "iou": 1}).iou == 1
    assert DetectParams.model_validate({"classes": []}).classes == ()
