import pytest
from pydantic import ValidationError

from engines.face_swap.params import FaceSwapParams


def test_the_defaults_swap_the_largest_face_without_enhancement():
    assert FaceSwapParams().model_dump(mode="json") == {
        "enhance_level": 0,
        "faces": "one",
        "max_faces": 8,
        "order": "large-small",
        "reference": 0,
        "first_frame": False,
        "mask": "ellipse",
        "blend": 1.0,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"enhance_level": 4},
        {"enhance_level": -1},
        {"enhance_level": True},
        {"enhance_level": "2"},
        {"faces": "all"},
        {"max_faces": 0},
        {"max_faces": 33},
        {"reference": -1},
        {"mask": "hull"},
        {"blend": 1.01},
        {"blend": float("nan")},
        {"blend": float("inf")},
        {"order": "largest"},
        {"pixel_boost": 2},
    ],
)
def test_what_is_not_a_parameter_is_refused(wrong):
    with pytest.raises(ValidationError):
        FaceSwapParams.model_validate(wrong)


def test_a_whole_number_is_a_blend_too():
    assert FaceSwapParams.model_validate({"blend": 1}).blend == 1.0
