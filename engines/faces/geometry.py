"""The similarity (turn, scale and shift) that brings one face's points onto another's."""

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError
from engines.faces.face import Points

Affine = NDArray[np.float64]  # [2, 3]

# Below this spread (pixels, root mean square) five points are one point and fix no direction.
SPREAD_PX_MIN = 0.5
# Below this determinant a matrix makes a line of a crop, and there is no way back.
DETERMINANT_MIN = 1e-9
# Below this share of the best possible agreement the two shapes have nothing to do with each other.
AGREEMENT_MIN = 0.2


class UnusableFaceError(InvalidInputError):
    """Raised when a face's points do not fix a position: coincident, infinite or contradictory."""

    code = "face_unusable"


def similarity(source: Points, target: Points) -> Affine:
    """Return the [2, 3] least-squares rotation, uniform scale and shift from source to target.

    This is Umeyama's solution. In the plane it needs no SVD: with points as complex numbers the
    transform is ``z -> a z + b`` and ``a`` is one division, which can never be a reflection.

    Raises:
        UnusableFaceError: The points are not finite, coincide, or agree in no direction.
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2:  # noqa: PLR2004 - x, y
        raise ValueError(
            f"similarity needs two equal [n, 2] arrays, got {source.shape}, {target.shape}"
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise UnusableFaceError("a face point is not a finite number")
    p = source[:, 0] + 1j * source[:, 1]
    q = target[:, 0] + 1j * target[:, 1]
    p_mean, q_mean = p.mean(), q.mean()
    p, q = p - p_mean, q - q_mean
    p_power, q_power = float(np.vdot(p, p).real), float(np.vdot(q, q).real)
    if min(p_power, q_power) < len(p) * SPREAD_PX_MIN**2:
        raise UnusableFaceError("the points of a face coincide; use a larger or sharper picture")
    product = np.vdot(p, q)  # conjugates p
    if abs(product) < AGREEMENT_MIN * np.sqrt(p_power * q_power):
        raise UnusableFaceError("the points of a face contradict each other; use a frontal picture")
    a = product / p_power
    b = q_mean - a * p_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], dtype=np.float64)


def apply(matrix: Affine, points: Points) -> Points:
    """Return the points moved by a [2, 3] matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: Affine) -> Affine:
    """The [2, 3] matrix that leads back.

    Raises:
        UnusableFaceError: there is none: the matrix is flat or not finite.
    """
    if not np.isfinite(matrix).all():
        raise UnusableFaceError("a face's position is not a finite number")
    linear, shift = matrix[:, :2], matrix[:, 2]
    determinant = float(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0])
    if abs(determinant) < DETERMINANT_MIN:
        raise UnusableFaceError("a face's position cannot be turned round; use a larger picture")
    turned = np.array([[linear[1, 1], -linear[0, 1]], [-linear[1, 0], linear[0, 0]]]) / determinant
    return np.column_stack([turned, -turned @ shift])


def enlarged(matrix: Affine, factor: float) -> Affine:
    """The matrix to a crop whose every pixel became ``factor`` x ``factor`` pixels.

    Pixel centres stay where they were: ``u = (x + 0.5) * factor - 0.5``, as enlarging networks and
    resizing do it. It is not the matrix of the same template at a larger size.
    """
    shift = (factor - 1) / 2
    return matrix * factor + np.array([[0, 0, shift], [0, 0, shift]], dtype=np.float64)
