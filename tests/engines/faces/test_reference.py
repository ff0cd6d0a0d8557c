"""Faces against the insightface package, with the same network files.

Its numbers are in ``goldens/`` and are compared always; where ``make bench-peers`` was run, its own
classes are asked as well. See ``tests/peers/README.md``.
"""

import json

import cv2
import numpy as np
import pytest
from face_answers import detected, swapped
from face_peer import ask, is_installed
from face_questions import QUESTIONS, photographs, request
from write_face_goldens import GOLDENS, parts_of, rows_of

from engines.faces.align.box_mask import box_mask
from engines.faces.nets.swapper import clipped
from engines.media.images import read_image

BOX_PX, SCORE, MATRIX, LATENT, LEVEL = 0.01, 1e-5, 1e-4, 1e-5, 1.0
with_peer = pytest.mark.skipif(not is_installed(), reason="make bench-peers was not run")


@pytest.fixture(scope="module")
def goldens():
    return json.loads(GOLDENS.read_text())


@pytest.fixture(scope="module")
def found(test_media, tmp_path_factory):
    return detected(test_media, tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def drawn(test_media, model_mirror, goldens):
    points = [[face["points"] for face in faces] for faces in goldens["faces"].values()]
    return swapped(test_media, model_mirror, points)


def test_the_goldens_speak_of_every_photograph(goldens, test_media):
    names = [path.name for path in photographs(test_media)]
    assert list(goldens["faces"]) == names
    assert all(list(each) == names for each in goldens["detect"].values())
    assert sum(len(faces) for faces in goldens["faces"].values()) >= 12


@pytest.mark.parametrize("number", range(len(QUESTIONS)), ids=[each.name for each in QUESTIONS])
def test_the_same_faces_are_found_in_the_same_places(number, found, goldens):
    for place, (name, told) in enumerate(goldens["detect"][QUESTIONS[number].name].items()):
        rows = np.array(rows_of(found, number, place))
        assert len(found[f"rows_{number}_{place}"]) == told["count"], name
        difference = np.abs(rows - np.array(told["rows"]))
        difference[:, 4] *= BOX_PX / SCORE
        assert difference.max() < BOX_PX, name


def test_faces_are_cut_out_by_the_same_matrices_and_embedded_alike(drawn, goldens):
    for place, (name, faces) in enumerate(goldens["faces"].items()):
        for number, told in enumerate(faces):
            for size in (112, 128):
                ours = drawn[f"matrix{size}_{place}_{number}"]
                assert np.abs(ours - np.array(told[f"matrix{size}"])).max() < MATRIX, name
            ours = drawn[f"embedding_{place}_{number}"][:16]
            assert np.abs(ours - np.array(told["embedding"])).max() < 1e-3, name


def test_the_latent_is_the_same(drawn, goldens):
    assert np.abs(drawn["latent_0_0"][0] - np.array(goldens["latent"])).max() < LATENT


def test_the_swapped_crops_are_the_same_within_one_level(drawn, goldens):
    for place, (name, faces) in enumerate(goldens["faces"].items()):
        for number, told in enumerate(faces):
            ours = np.array(parts_of(np.floor(drawn[f"swapped_{place}_{number}"])))
            assert np.abs(ours - np.array(told["swapped"])).max() < LEVEL, name


@pytest.fixture(scope="module")
def both(test_media, model_mirror, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peer")
    asked = request(test_media, model_mirror, folder)
    ours = detected(test_media, folder) | swapped(test_media, model_mirror, asked["points"])
    return ask(asked), ours


@with_peer
def test_every_row_and_point_of_the_package_is_ours(both):
    theirs, ours = both
    names = [name for name in theirs if name.startswith(("rows_", "points_"))]
    assert len(names) == 2 * 7 * len(QUESTIONS)
    for name in names:
        assert ours[name].shape == theirs[name].shape, name
        assert np.abs(ours[name] - theirs[name]).max() < BOX_PX, name


@with_peer
def test_every_crop_matrix_latent_and_swapped_face_of_the_package_is_ours(both):
    theirs, ours = both
    # crops: a matrix that differs by 1e-5 moves a sample to the next of OpenCV's 32 steps at times
    limits = {"matrix": MATRIX, "latent": LATENT, "swapped": LEVEL, "crop112": 2}
    for kind, limit in limits.items():
        names = [name for name in theirs if name.startswith(kind)]
        assert len(names) >= 12
        for name in names:
            mine = clipped(ours[name]) if kind == "swapped" else ours[name]
            assert np.abs(mine.astype(float) - theirs[name]).max() <= limit, name


@with_peer
def test_pasted_pictures_differ_only_by_rounding_inside_and_by_the_mask_at_the_rim(
    both, test_media
):
    """The package warps bytes, lays a mask of its own over the whole picture and cuts decimals off.

    Its mask is eroded and blurred in pixels of the picture, ours is blurred in pixels of the crop:
    in the rim the two weigh old and new differently, by at most the difference of both faces.
    Outside, ours keeps every byte; the package's loses a level where it computes 99.99999, and on
    small faces the end of its blur reaches a pixel beyond the crop. Faces of less than half the
    crop's size ours averages down, where the package skips pixels: there the insides differ.
    """
    theirs, ours = both
    averaged = 0
    for place, path in enumerate(photographs(test_media)):
        if f"pasted_{place}" not in theirs:
            continue
        picture = read_image(path).pixels.astype(float)
        matrix = ours[f"matrix128_{place}_0"]
        size = picture.shape[1], picture.shape[0]
        flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        mask = cv2.warpAffine(box_mask(128), matrix, size, flags=flags)
        new = cv2.warpAffine(ours[f"swapped_{place}_0"], matrix, size, flags=flags)
        reach = cv2.warpAffine(np.ones((128, 128), np.float32), matrix, size, flags=flags)
        difference = np.abs(ours[f"pasted_{place}"].astype(float) - theirs[f"pasted_{place}"])
        core = mask > 0.999
        assert core.sum() > 100
        pasted = ours[f"pasted_{place}"].astype(float)
        outside = cv2.dilate(reach, np.ones((5, 5))) == 0
        assert np.array_equal(pasted[outside], picture[outside]), path.name
        assert difference[outside].max() <= 3, path.name
        if np.hypot(*matrix[0, :2]) > 2:
            averaged += 1
            continue
        # bytes warped and decimals cut off; at an edge a sample is one of OpenCV's 32 steps away
        assert np.quantile(difference[core], 0.999) <= 2, path.name
        assert difference[core].max() <= 8, path.name
        rim = (reach > 0) & ~core
        room = np.abs(new - picture)[rim]
        assert (difference[rim] <= room + 3).mean() > 0.99, path.name
    assert averaged == 1
