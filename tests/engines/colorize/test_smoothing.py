import numpy as np
import pytest

from engines.colorize.smoothing import Flicker, Smoother, is_cut

RANDOM = np.random.default_rng(5)


def scene(seed: int, size: int = 96) -> np.ndarray:
    """Lightness of soft blobs, 0..100."""
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 100, (size, size)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4)
    return ((soft - soft.min()) / np.ptp(soft) * 90 + 5).astype(np.float32)


def flickering(light: np.ndarray) -> np.ndarray:
    return np.dstack([light * 0 + 10, light / 4]) + RANDOM.normal(0, 4, (1, 1, 2))


def run(frames: list[np.ndarray], strength: float) -> Smoother:
    smoother = Smoother(strength)
    for light in frames:
        smoother.next(light, flickering(light).astype(np.float32))
    return smoother


def test_what_stands_still_flickers_less_than_half_as_much():
    smoother = run([scene(1)] * 30, 0.85)
    assert smoother.smooth.mean < smoother.raw.mean / 2
    assert smoother.cuts == 0


def test_without_strength_colour_is_what_the_model_said():
    smoother = run([scene(1)] * 5, 0.0)
    assert smoother.smooth.mean == smoother.raw.mean


def test_a_cut_begins_anew_and_takes_no_colour_along():
    smoother = Smoother(0.85)
    for light, value in ((scene(1), 40.0), (scene(1), 40.0), (100 - scene(2), -40.0)):
        colour = smoother.next(light, np.full((96, 96, 2), value, np.float32))
    assert smoother.cuts == 1
    assert (colour == -40).all()


def test_colour_moves_with_the_things_it_belongs_to():
    wide = scene(3, 160)
    smoother = Smoother(0.9)
    for shift in range(0, 24, 3):
        light = np.ascontiguousarray(wide[32:128, shift : shift + 96])
        right = light > 50
        # only the first frame knows colour: what is there later was carried along
        known = np.where(right[..., None], 30.0, 0.0) if shift == 0 else np.zeros((96, 96, 2))
        colour = smoother.next(light, np.broadcast_to(known, (96, 96, 2)).astype(np.float32))
    inside = colour[..., 0][:, :60][light[:, :60] > 60].mean()
    outside = np.abs(colour[..., 0][:, :60][light[:, :60] < 40]).mean()
    assert inside > 8
    assert outside < inside / 4


def test_flicker_counts_only_what_stands_still():
    flicker = Flicker()
    light, colour = np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.float32)
    flicker.add(light, colour, cut=False)
    moved = light.copy()
    moved[2:] = 50
    flicker.add(moved, np.where(moved[..., None] > 0, 100, 2).astype(np.float32), cut=False)
    assert flicker.mean == pytest.approx(2.0)
    flicker.add(light, colour + 90, cut=True)
    assert flicker.mean == pytest.approx(2.0)


def test_panning_is_no_cut_and_another_scene_is_but_no_flash():
    wide = scene(4, 200)
    first, second = wide[:96, :96], wide[:96, 4:100]
    assert not is_cut(second, second)
    other = 100 - scene(9)
    assert is_cut(first, other)
    assert not is_cut(first, np.clip(first + 20, 0, 100))
