"""Where five face points belong, and the similarity that brings them there.

Templates are fractions of the side of a square crop, in the point order of ``engines.faces.face``.
"""

from enum import Enum

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


class Template(Enum):
    """Crops that face networks were trained on."""

    ARCFACE_112 = (  # recognisers: version 2 of the template, tighter than version 1
        (0.34191607, 0.46157411),
        (0.65653393, 0.45983393),
        (0.50022500, 0.64050536),
        (0.37097589, 0.82469196),
        (0.63151696, 0.82325089),
    )
    ARCFACE_128 = (  # swappers: the same numbers in pixels, 8 px of margin on each side
        (0.36167656, 0.40387734),
        (0.63696719, 0.40235469),
        (0.50019687, 0.56044219),
        (0.38710391, 0.72160547),
        (0.61507734, 0.72034453),
    )
    FFHQ_512 = (  # enhancers
        (0.37691676, 0.46864664),
        (0.62285697, 0.46912813),
        (0.50123859, 0.61331904),
        (0.39308822, 0.72541100),
        (0.61150205, 0.72490465),
    )

    def points(self, side_px: float) -> Points:
        """Return the five points in a crop of ``side_px`` pixels."""
        return np.asarray(self.value, dtype=np.float64) * side_px


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


def invert(matrix: Affine) -> Affine:
    """Return the inverse of a similarity."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, -linear @ matrix[:, 2:]])


def apply(matrix: Affine, points: Points) -> Points:
    """Return the points moved by a [2, 3] matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]
