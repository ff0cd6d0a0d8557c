"""Videos in colour: frames, sound and time as they were, colour without flicker."""

import subprocess

import cv2
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from engines.colorize import videos
from engines.colorize.chroma import lightness, unit
from engines.colorize.engine import create
from engines.colorize.params import ColorizeParams
from engines.colorize.smoothing import Flicker
from engines.errors import CanceledError, InvalidInputError
from engines.media.index import index_video
from engines.media.video import read_frames
from engines.registry import open_registry
from engines.spec import CanceledRunError, InputFiles, InputMedia
from tests.engines.colorize.conftest import services_of


@pytest.fixture(scope="module")
def grey_clip(tmp_path_factory, astronaut):
    """Two seconds of a still, grainy photograph and its mirror image, with sound, in grey."""
    folder = tmp_path_factory.mktemp("clip")
    random = np.random.default_rng(2)
    grey = cv2.cvtColor(cv2.resize(astronaut, (320, 256)), cv2.COLOR_BGR2GRAY)
    scenes = [grey] * 10 + [255 - grey[::-1]] * 6
    for number, scene in enumerate(scenes):
        noisy = np.clip(scene + random.normal(0, 1.5, scene.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:03}.png"), noisy)
    path = folder / "old film.mp4"
    command = [get_ffmpeg_exe(), "-v", "error", "-framerate", "8", "-i", folder / "%03d.png"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:duration=2", "-c:a", "aac"]
    command += ["-crf", "12", "-pix_fmt", "yuv420p", path]
    subprocess.run([str(part) for part in command], check=True)
    return path


@pytest.fixture
def colour_video(ddcolor, context):
    def run(path, **params):
        engine, model = create(ddcolor), ddcolor.registry.resolve("colorize", "ddcolor")
        files = InputFiles(path, index_video(path).info())
        asked = {"type": "person", "input_size": 128, **params}
        return engine.run(model, ColorizeParams(**asked), files, context)

    return run


def frames_of(path):
    return [frame.pixels for frame in read_frames(path, index_video(path))]


def test_every_frame_gets_colour_and_keeps_light_time_and_sound(colour_video, grey_clip):
    result = colour_video(grey_clip)
    (file,) = result.files
    before, after = index_video(grey_clip), index_video(file.path)
    assert file.name == "old film-colorized.mp4"
    assert (after.pts, after.has_audio) == (before.pts, True)
    for grey, colour in zip(frames_of(grey_clip), frames_of(file.path), strict=True):
        assert np.abs(lightness(unit(colour)) - lightness(unit(grey))).mean() < 2
        assert np.ptp(colour.astype(int), axis=2).mean() > 10
    assert result.usage.work.quantities == {"frames": 16}
    assert result.usage.work.attributes["media"] == "video"
    assert result.data["scene_cuts"] == 1
    assert {"infer", "smooth", "join"} <= set(result.usage.stages_ms)


def test_flicker_is_measured_and_at_most_half_with_smoothing(colour_video, grey_clip):
    told = colour_video(grey_clip).data["flicker"]
    assert told["smoothed"] <= told["unsmoothed"] / 2
    plain = colour_video(grey_clip, smoothing=0).data["flicker"]
    assert plain["smoothed"] == plain["unsmoothed"]


@pytest.fixture
def shown(monkeypatch):
    """Every frame as the engine hands it to the encoder, whose own steps of 8 bits flicker too."""
    frames: list[np.ndarray] = []
    encode = videos.transform_video

    def watched(*args, process, **named):
        def noted(batch):
            coloured = process(batch)
            frames.extend(coloured)
            return coloured

        return encode(*args, process=noted, **named)

    monkeypatch.setattr(videos, "transform_video", watched)
    return frames


def flicker_of(frames) -> float:
    flicker = Flicker()
    for pixels in frames:
        lab = cv2.cvtColor(unit(pixels), cv2.COLOR_BGR2LAB)
        flicker.add(lab[..., 0], lab[..., 1:], cut=False)
    return flicker.mean


def test_a_real_clip_flickers_at_most_half_as_much(
    context, shown, test_media, tmp_path, model_mirror
):
    grey = tmp_path / "grey.mp4"
    command = [get_ffmpeg_exe(), "-v", "error", "-t", "1.5", "-i"]
    command += [test_media / "video" / "two_faces_headpose.mp4", "-an", "-crf", "14"]
    # grain, as film has: it is what makes guesses jump
    command += ["-vf", "scale=320:-2,hue=s=0,noise=c0s=6:c0f=t", "-pix_fmt", "yuv420p", grey]
    subprocess.run([str(part) for part in command], check=True)
    registry = open_registry(store=tmp_path / "store", mirror=str(model_mirror))
    engine, model = create(services_of(registry)), registry.resolve("colorize", "tiny")
    files = InputFiles(grey, index_video(grey).info())
    measured, told = [], []
    for params in ({"smoothing": 0.0}, {}):
        asked = ColorizeParams(type="building", input_size=128, **params)
        shown.clear()
        result = engine.run(model, asked, files, context)
        measured.append(flicker_of(shown))
        told.append(result.data["flicker"]["smoothed"])
    registry.sessions.close()
    print(f"unsmoothed, smoothed: of the frames {measured}, as told {told}")
    assert measured[1] <= measured[0] / 2
    assert told[1] <= told[0] / 2


def test_a_canceled_video_is_charged_for_its_frames(colour_video, context, grey_clip):
    context.canceled_after = 4
    with pytest.raises(CanceledRunError) as stopped:
        colour_video(grey_clip)
    assert 4 <= stopped.value.usage.work.quantities["frames"] < 16
    assert isinstance(stopped.value, CanceledError)


@pytest.mark.parametrize("option", [{"upscale": 2}, {"denoise": True}, {"scratch": True}])
def test_options_for_pictures_are_refused_before_the_run(option, ddcolor, grey_clip):
    engine, model = create(ddcolor), ddcolor.registry.resolve("colorize", "ddcolor")
    media = InputMedia(index_video(grey_clip).info())
    with pytest.raises(InvalidInputError) as refused:
        engine.plan(model, ColorizeParams(**option), media)
    assert refused.value.code == "option_unsupported"
    work = engine.plan(model, ColorizeParams(), media)
    assert work.quantities == {"frames": 16}
    assert (work.attributes["width"], work.attributes["height"]) == (320, 256)


def test_auto_looks_at_the_first_frames(colour_video, grey_clip):
    result = colour_video(grey_clip, type="auto")
    assert result.data["type"] == result.usage.work.attributes["type"] == "person"
