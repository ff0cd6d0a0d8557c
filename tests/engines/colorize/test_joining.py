"""A video coloured in parts: the same without smoothing, close to it with."""

from itertools import count
from subprocess import run as run_program

import cv2
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from engines.colorize.engine import create
from engines.colorize.params import ColorizeParams
from engines.colorize.smoothing import frames_to_settle
from engines.media.index import index_video
from engines.media.video import read_frames
from engines.spec import InputFiles, SegmentedEngine
from tests.engines.media.parts import pictures, run_in_parts


@pytest.fixture(scope="module")
def film(tmp_path_factory, astronaut):
    """A grainy grey photograph that is panned over, cut once, with a key frame every six."""
    folder = tmp_path_factory.mktemp("film")
    random = np.random.default_rng(2)
    grey = cv2.cvtColor(cv2.resize(astronaut, (200, 160)), cv2.COLOR_BGR2GRAY)
    for number in range(48):
        scene = grey if number < 27 else 255 - grey[::-1]
        window = scene[8 : 8 + 128, number // 3 : number // 3 + 160]
        noisy = np.clip(window + random.normal(0, 1.5, window.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:03}.png"), noisy)
    path = folder / "film.mp4"
    command = [get_ffmpeg_exe(), "-v", "error", "-framerate", "24", "-i", folder / "%03d.png"]
    command += ["-crf", "12", "-g", "6", "-sc_threshold", "0", "-pix_fmt", "yuv420p", path]
    run_program([str(part) for part in command], check=True)
    return path


@pytest.fixture
def both(ddcolor, film, context):
    """Colour the film in one go and in parts; return both results and the parts."""
    numbers = count()

    def contexts():
        folder = context.work_dir / str(next(numbers))
        folder.mkdir()
        return type(context)(folder)

    def run(**asked):
        engine, model = create(ddcolor), ddcolor.registry.resolve("colorize", "ddcolor")
        params = ColorizeParams(type="building", input_size=64, quality="lossless", **asked)
        files = InputFiles(film, index_video(film).info())
        one = engine.run(model, params, files, contexts())
        assert isinstance(engine, SegmentedEngine)
        many, parts = run_in_parts(engine, model, params, film, contexts, most=4)
        assert len(parts) == 4
        return one, many, parts

    return run


def colour_of(path):
    index = index_video(path)
    return np.stack([frame.pixels for frame in read_frames(path, index)]).astype(int)


def test_without_smoothing_parts_are_the_whole(both):
    one, many, _ = both(smoothing=0)
    assert pictures(many.files[0].path) == pictures(one.files[0].path)
    flicker, same = many.data.pop("flicker"), one.data.pop("flicker")
    assert many.data == one.data
    assert flicker["pixels"] == same["pixels"]
    assert flicker["unsmoothed"] == pytest.approx(same["unsmoothed"], abs=2e-4)
    assert many.usage.work == one.usage.work


def test_with_smoothing_a_part_sees_enough_before_it_to_be_close(both):
    one, many, parts = both(smoothing=0.8)
    difference = np.abs(colour_of(one.files[0].path) - colour_of(many.files[0].path))
    assert difference.mean() < 0.05
    assert difference.max() <= 4
    assert many.data["scene_cuts"] == one.data["scene_cuts"] == 1
    assert many.data["flicker"]["smoothed"] == pytest.approx(one.data["flicker"]["smoothed"], 0.02)
    assert many.data["flicker"]["pixels"] == one.data["flicker"]["pixels"]
    assert sum(part.usage.work.quantities["frames"] for part in parts) == 48


def test_frames_until_what_was_before_no_longer_matters_follow_the_strength():
    assert [frames_to_settle(strength) for strength in (0.0, 0.5, 0.9, 0.95)] == [1, 7, 44, 90]
