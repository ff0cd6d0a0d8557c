"""The similarity (turn, scale and shift) that brings one face's points onto another's."""

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError
from engines.faces.face import Points

Affine = NDArray[np.float64]  # [2, 3]

# Below this spread (pixels, root mean square) five points are one point and fix no direction.
SPREAD_PX_MIN = 0.5
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
