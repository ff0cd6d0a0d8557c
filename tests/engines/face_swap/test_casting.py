import pytest

from engines.errors import InvalidInputError
from engines.face_swap.casting import Cast, Role, cast
from engines.face_swap.params import FaceSwapParams, Reference


def params(**values: object) -> FaceSwapParams:
    return FaceSwapParams.model_validate(values)


def test_without_a_mapping_all_pictures_show_one_source_person():
    assert cast(params(), pictures=3) == Cast((Role((0, 1, 2)),), most_faces=1)
    many = cast(params(faces="many", max_faces=5, source_face=1), pictures=1)
    assert many == Cast((Role((0,), 1),), most_faces=5)
    assert many.references == ()


def test_the_picture_that_shows_the_reference_is_no_source():
    who = cast(params(faces="reference", reference={"file": 1}), pictures=3)
    assert who == Cast((Role((0, 2), None, Reference(file=1)),), most_faces=1)
    assert cast(params(faces="reference", reference=4), pictures=2).roles[0].sources == (0, 1)


def test_a_mapping_gives_each_person_a_source_of_its_own():
    pairs = [
        {"source": 0, "reference": 2},
        {"source": [1, 3], "source_face": 1, "reference": {"file": 2, "position": 1}},
    ]
    who = cast(params(mapping=pairs), pictures=4)
    assert who.most_faces == 2
    assert who.roles == (
        Role((0,), None, Reference(position=2)),
        Role((1, 3), 1, Reference(file=2, position=1)),
    )


@pytest.mark.parametrize(
    ("values", "pictures", "code"),
    [
        ({}, 0, "wrong_source_count"),
        ({}, 17, "wrong_source_count"),
        ({"faces": "reference", "reference": {"file": 0}}, 1, "wrong_source_count"),
        ({"faces": "reference", "reference": {"file": 2}}, 2, "no_such_source"),
        ({"mapping": [{"source": 1, "reference": 0}]}, 1, "no_such_source"),
        ({"mapping": [{"source": 0, "reference": {"file": 3}}]}, 2, "no_such_source"),
        ({"mapping": [{"source": 0, "reference": 0}]}, 2, "source_unused"),
        ({"mapping": [{"source": n, "reference": 1} for n in (0, 1)]}, 2, "reference_repeated"),
    ],
)
def test_what_cannot_be_cast_is_refused_by_name(values, pictures, code):
    with pytest.raises(InvalidInputError) as caught:
        cast(params(**values), pictures=pictures)
    assert caught.value.code == code
