"""Colour of a video held still in time: along what moves, until the scene is cut.

Every frame's colour is guessed by itself, so what stands still flickers. Here the colour of the
frame before is moved to where its things are now (dense optical flow over the lightness) and mixed
in; where light changed although it was moved, something new is seen and its own colour counts.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.colorize.chroma import Colour, Light

LIGHT_SIGMA = 6.0  # L; a moved pixel that differs by this much is another thing
# A cut is what moving does not explain. Within scenes frames agree by 0.97 and more, across cuts by
# 0.35 and less; below a little change even noise on black agrees with nothing.
CUT_AGREEMENT = 0.7
CUT_CHANGE = 4.0  # mean change of L, after moving
STATIC_LIGHT = 1.5  # L; below this change a place stands still
_SETTLED = 0.01  # of a difference in colour is left
FLOW_PX_MAX = 320  # longer side at which motion is looked for


def frames_to_settle(strength: float) -> int:
    """After how many frames it no longer matters (to a hundredth) what was before them."""
    return math.ceil(math.log(_SETTLED) / math.log(strength)) if strength > _SETTLED else 1


class Flicker:
    """Mean change of colour from frame to frame where the picture stands still."""

    def __init__(self) -> None:
        self._before: tuple[Light, Colour] | None = None
        self._sum = 0.0
        self._count = 0

    def add(self, light: Light, colour: Colour, *, cut: bool, counts: bool = True) -> None:
        """Look at the next frame; across a cut nothing is compared."""
        compared = counts and not cut
        if self._before is not None and compared and self._before[0].shape == light.shape:
            still = np.abs(light - self._before[0]) < STATIC_LIGHT
            change = np.abs(colour - self._before[1]).mean(axis=2)
            self._sum += float(change[still].sum())
            self._count += int(still.sum())
        self._before = (light, colour)

    @property
    def count(self) -> int:
        """How many pixels stood still."""
        return self._count

    @property
    def mean(self) -> float | None:
        """In steps of a and b; None when nothing stood still."""
        return self._sum / self._count if self._count else None


class Smoother:
    """Holds the colour of one video still; give it every frame in order.

    Args:
        strength: share of a standing pixel's colour that comes from the frame before, 0..1.
    """

    def __init__(self, strength: float) -> None:
        self._strength = np.float32(strength)
        self._before: tuple[Light, Colour] | None = None
        self._flow: Any = None
        self.cuts = 0
        self.raw = Flicker()
        self.smooth = Flicker()

    def next(self, light: Light, colour: Colour, *, counts: bool = True) -> Colour:
        """Return the colour of the next frame; ``light`` is its lightness at the same size.

        A frame that does not count is in no figure: it leads into those that do.
        """
        cut, mixed = False, colour
        if self._before is not None:
            cut, mixed = self._mixed(*self._before, light, colour)
        self.cuts += cut and counts
        self.raw.add(light, colour, cut=cut, counts=counts)
        self.smooth.add(light, mixed, cut=cut, counts=counts)
        self._before = (light, mixed)
        return mixed

    def _mixed(
        self, light_before: Light, colour_before: Colour, light: Light, colour: Colour
    ) -> tuple[bool, Colour]:
        moved_light, moved_colour = self._moved(light_before, colour_before, light)
        if is_cut(moved_light, light):
            return True, colour
        change = np.abs(_blurred(moved_light - light))
        trust = self._strength * np.exp(-((change / LIGHT_SIGMA) ** 2)).astype(np.float32)
        return False, np.asarray(colour + (moved_colour - colour) * trust[..., None], np.float32)

    def _moved(
        self, light_before: Light, colour_before: Colour, light: Light
    ) -> tuple[Light, Colour]:
        """What was before, at the places where its things are now."""
        import cv2

        height, width = light.shape
        ratio = min(1.0, FLOW_PX_MAX / max(height, width))
        size = max(16, round(width * ratio)), max(16, round(height * ratio))
        small = [
            cv2.resize(each, size, interpolation=cv2.INTER_AREA)
            for each in (_bytes(light), _bytes(light_before))
        ]
        if self._flow is None:
            self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow = cv2.resize(self._flow.calc(small[0], small[1], None), (width, height))
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        xs += flow[..., 0] * (width / size[0])
        ys += flow[..., 1] * (height / size[1])
        both = np.dstack([light_before, colour_before])
        moved = cv2.remap(both, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # what stands still is not moved: the smallest wrong motion would make it swim
        still = np.abs(_blurred(light_before - light)) <= np.abs(_blurred(moved[..., 0] - light))
        still |= np.abs(_blurred(light_before - light)) < STATIC_LIGHT / 2
        moved[still] = both[still]
        return np.asarray(moved[..., 0], np.float32), np.asarray(moved[..., 1:], np.float32)


def is_cut(moved: Light, now: Light) -> bool:
    """Whether another scene begins.

    Args:
        moved: lightness of the frame before, at the places where its things are now.
        now: lightness of this frame.
    """
    if float(np.abs(moved - now).mean()) < CUT_CHANGE:
        return False
    first, second = moved - moved.mean(), now - now.mean()
    spread = float(np.sqrt((first * first).mean() * (second * second).mean()))
    return float((first * second).mean()) < CUT_AGREEMENT * max(spread, 1.0)


def _blurred(values: Light) -> Light:
    import cv2

    return np.asarray(cv2.GaussianBlur(values, (0, 0), 1.5), np.float32)


def _bytes(light: Light) -> NDArray[np.uint8]:
    return np.asarray(np.clip(light * 2.55, 0, 255), np.uint8)
