import numpy as np
import pytest

from engines.face_swap.classical import lay
from engines.face_swap.oval import SHAPES, face_oval
from engines.face_swap.params import Mask
from engines.faces.face import Face
from engines.faces.geometry import UnusableFaceError

ASTRONAUT = Face(
    box=(179, 63, 270, 174),
    points=np.array([[201, 105], [245, 105], [221, 127], [204, 145], [242, 145]], float),
    score=0.9,
)
HOPPER = Face(
    box=(180, 124, 358, 337),
    points=np.array([[228, 194], [310, 193], [270, 239], [234, 273], [303, 273]], float),
    score=0.9,
)


def swapped(target, face, source, source_face, *, mask=Mask.ELLIPSE, blend=1.0):
    out = target.copy()
    lay(target, face, source, source_face, mask=mask).compose(out, blend=blend)
    return out


def moved(face: Face, x: float, y: float) -> Face:
    x1, y1, x2, y2 = face.box
    return Face((x1 + x, y1 + y, x2 + x, y2 + y), face.points + np.array([x, y]), face.score)


@pytest.mark.parametrize("mask", list(SHAPES))
def test_only_pixels_inside_the_oval_change(mask, astronaut, hopper):
    out = swapped(astronaut, ASTRONAUT, hopper, HOPPER, mask=mask)
    oval = face_oval(ASTRONAUT.points)
    radius = oval.radius((0, 0, 512, 512), mask=mask)
    changed = (out != astronaut).any(axis=2)
    assert not changed[radius > 1].any()
    assert changed[radius < 0.7].mean() > 0.9


def test_the_face_takes_the_colours_of_the_target(astronaut, hopper):
    out = swapped(astronaut, ASTRONAUT, hopper, HOPPER)
    inside = face_oval(ASTRONAUT.points).radius((0, 0, 512, 512), mask=Mask.ELLIPSE) < 0.8
    own = face_oval(HOPPER.points).radius((0, 0, *hopper.shape[1::-1]), mask=Mask.ELLIPSE) < 0.8
    before, after = astronaut[inside].mean(axis=0), out[inside].mean(axis=0)
    raw = hopper[own].mean(axis=0)
    assert np.abs(after - before).max() < 0.35 * np.abs(raw - before).max()


def test_the_new_face_looks_like_the_source_and_not_like_the_target(astronaut, hopper):
    out = swapped(astronaut, ASTRONAUT, hopper, HOPPER)
    layer = lay(astronaut, ASTRONAUT, hopper, HOPPER, mask=Mask.ELLIPSE)
    x1, y1, x2, y2 = layer.window
    core = layer.weights > 0.9
    new, old = out[y1:y2, x1:x2].mean(axis=2)[core], astronaut[y1:y2, x1:x2].mean(axis=2)[core]
    laid = layer.pixels.mean(axis=2)[core]
    assert np.corrcoef(new, laid)[0, 1] > 0.99
    assert np.corrcoef(new, old)[0, 1] < 0.8


def test_a_face_swapped_with_itself_stays_itself(astronaut):
    out = swapped(astronaut, ASTRONAUT, astronaut, ASTRONAUT)
    assert np.abs(out.astype(int) - astronaut).max() <= 6


def test_blend_mixes_and_zero_keeps_the_target(astronaut, hopper):
    whole = swapped(astronaut, ASTRONAUT, hopper, HOPPER)
    half = swapped(astronaut, ASTRONAUT, hopper, HOPPER, blend=0.5)
    assert np.abs(half - (whole.astype(float) + astronaut) / 2).max() <= 1.0
    none = swapped(astronaut, ASTRONAUT, hopper, HOPPER, blend=0.0)
    assert (none == astronaut).all()


def test_the_same_call_gives_the_same_pixels(astronaut, hopper):
    first = swapped(astronaut, ASTRONAUT, hopper, HOPPER)
    assert (first == swapped(astronaut, ASTRONAUT, hopper, HOPPER)).all()


@pytest.mark.parametrize(("top", "left"), [(100, 0), (0, 215), (130, 230), (60, 180)])
def test_a_face_cut_by_the_border_is_swapped_in_place(top, left, astronaut, hopper):
    whole = swapped(astronaut, ASTRONAUT, hopper, HOPPER)[top:, left:]
    cut = np.ascontiguousarray(astronaut[top:, left:])
    out = swapped(cut, moved(ASTRONAUT, -left, -top), hopper, HOPPER)
    assert out.shape == cut.shape
    # Light at the new border differs a little; a shifted face would differ much more.
    assert np.abs(out.astype(int) - whole).mean() < 1.5
    layer = lay(cut, moved(ASTRONAUT, -left, -top), hopper, HOPPER, mask=Mask.ELLIPSE)
    assert layer.window[0] < 0 or layer.window[1] < 0 or (top, left) == (60, 180)


def test_a_face_outside_the_picture_changes_nothing(astronaut, hopper):
    out = swapped(astronaut, moved(ASTRONAUT, 2000, 0), hopper, HOPPER)
    assert (out == astronaut).all()


def test_faces_that_cannot_be_laid_over_each_other_are_refused(astronaut, hopper):
    speck = Face((0, 0, 1, 1), ASTRONAUT.points / 50, 0.9)
    profile = Face(ASTRONAUT.box, ASTRONAUT.points * [0.01, 1], 0.9)
    cropped = hopper[240:]
    for target_face, source, source_face in [
        (speck, hopper, HOPPER),
        (profile, hopper, HOPPER),
        (ASTRONAUT, cropped, moved(HOPPER, 0, -240)),
    ]:
        with pytest.raises(UnusableFaceError):
            lay(astronaut, target_face, source, source_face, mask=Mask.ELLIPSE)


def test_a_turned_head_keeps_both_eyes_and_loses_the_far_cheek():
    turned = ASTRONAUT.points + np.array([[0, 0], [0, 0], [9, 0], [0, 0], [0, 0]])
    oval = face_oval(turned)
    window = (150, 50, 300, 200)
    radius, frontal = (
        face_oval(points).radius(window, mask=Mask.ELLIPSE) for points in (turned, ASTRONAUT.points)
    )
    assert oval.turn > 0.1
    for x, y in turned[:2].astype(int):
        assert radius[y - 50, x - 150] < 0.9
    assert radius[140 - 50, 258 - 150] > frontal[140 - 50, 258 - 150]
    assert radius[140 - 50, 190 - 150] <= frontal[140 - 50, 190 - 150]


def test_a_picture_without_colour_gets_none_and_a_tinted_one_keeps_its_tint(astronaut, hopper):
    grey = np.repeat(astronaut.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    out = swapped(grey, ASTRONAUT, hopper, HOPPER)
    assert (out != grey).any()
    assert np.ptp(out.astype(int), axis=2).max() <= 3
    sepia = np.clip(grey * np.array([0.7, 0.85, 1.0]), 0, 255).astype(np.uint8)
    out = swapped(sepia, ASTRONAUT, hopper, HOPPER).astype(float)
    face = np.s_[90:160, 195:255]
    blue, red = out[face][..., 0].mean(), out[face][..., 2].mean()
    assert blue / red == pytest.approx(0.7, abs=0.03)
