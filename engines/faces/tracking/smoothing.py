"""Steady the points of a face: what trembles stands still, what moves is not held back.

The One Euro filter (G. Casiez, N. Roussel, D. Vogel: "1€ Filter: A Simple Speed-based Low-pass
Filter for Noisy Input in Interactive Systems", CHI 2012): a low pass whose cutoff rises with speed.
Two things differ here. Speed is that of the face as a whole, in face widths a second, so that noise
of single points does not count as motion and a large face trembles as little as a small one; and
all points share one cutoff, so that a moving face keeps its shape.
"""

from dataclasses import dataclass
from math import pi

import numpy as np

from engines.faces.face import Face, Points
from engines.faces.tracking.seen import width_of

# Face widths a second that detectors tremble by themselves: no motion.
NOISE = 0.08
# What is shown lags behind by a share of the face's width: squared and times this it counts as so
# many widths a second. The face as a whole, whose place is surer, by a hundredth: 0.02, by a tenth:
# 2; its points among themselves, for a head that turns in its place, by a tenth: 0.1.
BEHIND, TURNING = 200.0, 10.0


@dataclass(frozen=True, slots=True)
class Steadiness:
    """How much is smoothed."""

    rest_hz: float = 0.3  # cutoff of a face that does not move
    hz_per_width: float = 30.0  # more for each face width a second
    speed_hz: float = 2.0  # cutoff of the speed itself


class FaceSmoother:
    """Smooths one face; a fresh one for every unbroken sight of it."""

    def __init__(self, steadiness: Steadiness | None = None) -> None:
        self._steadiness = steadiness or Steadiness()
        self._time_s: float | None = None
        self._given: Points = np.zeros((0, 2))
        self._shown: Points = np.zeros((0, 2))
        self._velocity: Points = np.zeros(2)

    def step(self, time_s: float, face: Face) -> Face:
        """The face, steadied by what was there before; times must rise."""
        given = np.concatenate([np.array(face.box).reshape(2, 2), face.points])
        if self._time_s is None or time_s <= self._time_s:
            self._shown = given
        else:
            self._shown = self._moved(given, time_s - self._time_s, width_of(face.box))
        self._time_s, self._given = time_s, given
        x1, y1, x2, y2 = (float(value) for value in self._shown[:2].ravel())
        return Face(box=(x1, y1, x2, y2), points=self._shown[2:].copy(), score=face.score)

    def _moved(self, given: Points, step_s: float, width: float) -> Points:
        wanted = self._steadiness
        # of the whole face: the mean of seven points trembles little
        velocity = (given - self._given).mean(axis=0) / step_s
        share = _share(wanted.speed_hz, step_s)
        self._velocity = self._velocity + (velocity - self._velocity) * share
        away = (given - self._shown) / width
        motion = max(0.0, float(np.hypot(*self._velocity)) / width - NOISE)
        motion += BEHIND * float((away.mean(axis=0) ** 2).sum())
        motion += TURNING * float((away**2).sum(axis=1).mean())
        cutoff = wanted.rest_hz + wanted.hz_per_width * motion
        return self._shown + (given - self._shown) * _share(cutoff, step_s)


def _share(cutoff_hz: float, step_s: float) -> float:
    """How much of what is new a low pass takes over in one step."""
    return 1.0 / (1.0 + 1.0 / (2 * pi * cutoff_hz * step_s))
