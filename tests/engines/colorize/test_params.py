import pytest
from pydantic import ValidationError

from engines.colorize.params import ColorizeParams


def test_the_defaults_leave_the_choice_to_the_model():
    assert ColorizeParams().model_dump(mode="json") == {
        "type": "auto",
        "input_size": None,
        "chroma": "guided",
        "upscale": 1,
        "output_size": None,
        "output_fit": "stretch",
        "output_filter": "lanczos",
        "tile_size": None,
        "denoise": False,
        "scratch": False,
        "smoothing": 0.9,
        "label": None,
        "quality": None,
        "container": None,
        "first_frame": False,
        "fp16": False,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "landscape"},
        {"input_size": 0},
        {"input_size": 16},
        {"input_size": 4128},
        {"input_size": [512]},
        {"input_size": [512, 500]},
        {"chroma": "nearest"},
        {"input_size": 500},
        {"input_size": 512.0},
        {"input_size": True},
        {"upscale": 3},
        {"upscale": True},
        {"upscale": 2.0},
        {"upscale": "2"},
        {"tile_size": 96},
        {"tile_size": 130},
        {"denoise": 1},
        {"smoothing": 1},
        {"smoothing": -0.1},
        {"fp16": 1},
        {"checkpoint": "ddcolor"},
    ],
)
def test_what_is_not_a_parameter_is_refused(wrong):
    with pytest.raises(ValidationError):
        ColorizeParams.model_validate(wrong)


@pytest.mark.parametrize("size", [32, 256, 512, 2048])
def test_sizes_are_multiples_of_32(size):
    assert ColorizeParams(input_size=size).input_size == size
