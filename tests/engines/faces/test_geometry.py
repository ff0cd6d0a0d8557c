import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.faces.geometry import UnusableFaceError, apply, enlarged, inverse, similarity

# Five points of a frontal face in a crop of 112 pixels.
POINTS = np.array([[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]])


def transform(scale: float, angle: float, x: float, y: float) -> np.ndarray:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


@given(
    scale=st.floats(0.05, 40),
    angle=st.floats(-3.1, 3.1),
    x=st.floats(-5000, 5000),
    y=st.floats(-5000, 5000),
)
def test_a_known_similarity_is_found_exactly(scale, angle, x, y):
    known = transform(scale, angle, x, y)
    assert np.allclose(similarity(POINTS, apply(known, POINTS)), known, atol=1e-6)


def test_noisy_points_give_the_same_answer_as_umeyama_by_svd():
    random = np.random.default_rng(7)
    target = apply(transform(1.7, 0.4, 30, -12), POINTS) + random.normal(0, 4, POINTS.shape)
    p, q = POINTS - POINTS.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(q.T @ p / len(p))
    d = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(d) @ vt
    scale = (s * d).sum() / p.var(axis=0).sum()
    linear = scale * rotation
    expected = np.column_stack([linear, target.mean(0) - linear @ POINTS.mean(0)])
    assert np.allclose(similarity(POINTS, target), expected, atol=1e-9)


def test_a_reflection_is_never_returned():
    mirrored = POINTS * [-1, 1]
    matrix = similarity(POINTS + np.array([0, 3]), mirrored)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 40.0),
        np.full((5, 2), np.nan),
        np.where(np.arange(10).reshape(5, 2) == 3, np.inf, POINTS),
        POINTS * 1e-4,
    ],
    ids=["coincident", "nan", "infinite", "tiny"],
)
def test_points_that_fix_no_position_are_refused(points):
    with pytest.raises(UnusableFaceError) as caught:
        similarity(points, POINTS)
    assert caught.value.code == "face_unusable"
    with pytest.raises(UnusableFaceError):
        similarity(POINTS, points)


def test_shapes_that_contradict_each_other_are_refused():
    ring = np.exp(2j * np.pi * np.arange(5) / 5)
    source = np.column_stack([ring.real, ring.imag]) * 50
    target = np.column_stack([(ring**2).real, (ring**2).imag]) * 50
    with pytest.raises(UnusableFaceError):
        similarity(source, target)


@given(scale=st.floats(0.02, 50), angle=st.floats(-3.1, 3.1), x=st.floats(-3000, 3000))
def test_the_inverse_leads_back(scale, angle, x):
    matrix = transform(scale, angle, x, -x)
    assert np.allclose(apply(inverse(matrix), apply(matrix, POINTS)), POINTS, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_matrix_without_a_way_back_is_refused(value):
    with pytest.raises(UnusableFaceError):
        inverse(np.full((2, 3), value))


def test_an_enlarged_crop_keeps_its_pixel_centres():
    matrix = enlarged(transform(1, 0, 0, 0), 4)
    # the first pixel becomes pixels 0 to 3, whose middle is 1.5
    assert np.allclose(apply(matrix, np.array([[0.0, 0.0], [1.0, 2.0]])), [[1.5, 1.5], [5.5, 9.5]])
