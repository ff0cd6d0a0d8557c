import pytest
from pydantic import ValidationError

from engines.face_swap.params import FaceSwapParams, Mask, Pair, Reference


def test_the_defaults_swap_the_largest_face_without_enhancement():
    assert FaceSwapParams().model_dump(mode="json") == {
        "enhance_level": 0,
        "enhancer": "auto",
        "faces": "one",
        "max_faces": 8,
        "order": "large-small",
        "reference": {"file": None, "position": 0, "frame": 0},
        "threshold": 0.4,
        "mapping": None,
        "source_face": None,
        "detector": {"name": "auto", "size": None, "score": None, "angles": [0], "landmarks": 5},
        "label": None,
        "quality": None,
        "container": None,
        "first_frame": False,
        "mask": None,
        "pixel_boost": None,
        "color_match": False,
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
        {"mask": []},
        {"pixel_boost": "256"},
        {"reference": {"file": 16}},
        {"reference": {"face": 1}},
        {"reference": True},
        {"threshold": 1.5},
        {"mapping": []},
        {"mapping": [{"source": 0}]},
        {"mapping": [{"source": [], "reference": 0}]},
        {"mapping": [{"source": 0, "reference": 0}], "faces": "many"},
        {"mapping": [{"source": 0, "reference": 0}], "reference": 1},
        {"mapping": [{"source": 0, "reference": 0}], "source_face": 1},
        {"model": "classical"},
    ],
)
def test_what_is_not_a_parameter_is_refused(wrong):
    with pytest.raises(ValidationError):
        FaceSwapParams.model_validate(wrong)


def test_a_whole_number_is_a_blend_too():
    assert FaceSwapParams.model_validate({"blend": 1}).blend == 1.0


def test_one_may_be_given_where_several_may_and_a_number_is_a_position():
    pair = {"source": 0, "reference": 2}
    params = FaceSwapParams.model_validate({"mask": "box", "mapping": [pair]})
    assert params.mask == (Mask.BOX,)
    assert params.mapping == (Pair(source=(0,), reference=Reference(position=2)),)
    params = FaceSwapParams.model_validate({"reference": 3, "faces": "reference"})
    assert params.reference == Reference(position=3)


def test_what_is_stored_as_json_reads_back_as_the_same():
    params = FaceSwapParams.model_validate(
        {"mask": ["box", "occlusion"], "mapping": [{"source": [0, 1], "reference": {"file": 2}}]}
    )
    assert (
        FaceSwapParams.model_validate(params.model_dump(mode="json", exclude_unset=True)) == params
    )
