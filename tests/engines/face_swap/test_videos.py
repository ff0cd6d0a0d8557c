"""Videos through the engine: the right face, on exactly its frames, and nothing else changed."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.media.index import index_video
from engines.media.limits import MediaLimits
from engines.media.video import read_frames
from engines.spec import CanceledRunError, InputMedia, SegmentedEngine
from tests.engines.face_swap.conftest import engine_of
from tests.engines.media.parts import run_in_parts

LIMITS = MediaLimits()
# cuts_two_identities.mp4, by the differences of its frames: first and last frame of each shot
ASTRONAUT, OTHER, NOBODY, MIRRORED = (0, 37), (38, 75), (76, 100), (101, 138)

FLASH = np.s_[10:50, 10:50]  # inside the white box of astro_sync_*


def pictures(path: Path) -> Iterator[np.ndarray]:
    for frame in read_frames(path, index_video(path, LIMITS)):
        yield frame.pixels


def difference(frame: np.ndarray, other: np.ndarray) -> float:
    """The largest mean difference of any part of 16 pixels, in 8-bit steps."""
    apart = np.abs(frame.astype(np.float32) - other).mean(axis=2)
    return float(cv2.resize(apart, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA).max())


@pytest.fixture(scope="session")
def clips(test_media) -> Path:
    return test_media / "video"


@pytest.fixture(scope="session")
def cuts(clips) -> Path:
    return clips / "cuts_two_identities.mp4"


def test_only_the_chosen_identity_is_replaced_on_exactly_its_frames(run, cuts, hopper, astronaut):
    """Frame by frame: what changed is what was asked for, and where a cut is, it stops at once."""
    asked = {"model": "classical", "faces": "reference", "reference": {"file": 1}}
    result = run(cuts, hopper, astronaut, **asked)
    [replaced] = result.data["replaced"]
    assert replaced == {
        "role": 0,
        "frames": 76,
        "ranges": [list(ASTRONAUT), list(MIRRORED)],
    }
    table = [
        difference(*pair)
        for pair in zip(pictures(cuts), pictures(result.files[0].path), strict=True)
    ]
    wanted = {*range(ASTRONAUT[0], ASTRONAUT[1] + 1), *range(MIRRORED[0], MIRRORED[1] + 1)}
    wrong = {n: round(d, 1) for n, d in enumerate(table) if (d > 12) != (n in wanted)}
    assert wrong == {}
    assert result.usage.work.quantities["faces"] == 76
    assert result.usage.work.quantities["extra_faces"] == 0
    assert result.usage.work.quantities["frames"] == len(table) == 139


def test_two_sources_go_onto_two_people_who_never_exchange_them(run, clips, hopper, astronaut):
    """Heads roll and turn until they look like nobody; each keeps its own new face throughout."""
    told = [{"source": n, "reference": {"position": n}} for n in (0, 1)]
    clip = clips / "two_faces_headpose.mp4"
    result = run(clip, hopper, astronaut, model="classical", mapping=told, order="left-right")
    assert [(each["role"], each["ranges"]) for each in result.data["replaced"]] == [
        (0, [[0, 57]]),
        (1, [[0, 57]]),
    ]
    assert result.usage.work.quantities["extra_faces"] == 58
    # the left half of every frame got the first source: alone, it changes nothing else
    alone = run(clip, hopper, model="classical", mapping=told[:1], order="left-right")
    for both, left in zip(
        pictures(result.files[0].path), pictures(alone.files[0].path), strict=True
    ):
        middle = both.shape[1] // 2
        assert difference(both[:, :middle], left[:, :middle]) < 8


@pytest.fixture(scope="session")
def short(cuts, tmp_path_factory) -> Path:
    """Eight frames of the astronaut, a hard cut, eight of the other."""
    path = tmp_path_factory.mktemp("clips") / "short.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", cuts]
    command += ["-vf", "trim=start_frame=30:end_frame=46,setpts=PTS-STARTPTS", "-crf", "12"]
    command += ["-g", "5", path]  # a key frame every five frames
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("model", ["classical", "inswapper-128"])
def test_the_person_of_a_frame_is_the_person_of_the_video(run, short, hopper, model):
    asked = {"model": model, "faces": "reference"}
    if model == "classical":  # a stub knows nobody
        other = run(short, hopper, **asked, reference={"frame": 12})
        assert other.data["replaced"][0]["ranges"] == [[8, 15]]
    with pytest.raises(InvalidInputError) as caught:
        run(short, hopper, **asked, reference={"frame": 16})
    assert caught.value.code == "no_such_frame"


def test_one_face_stays_the_same_person_and_many_are_everybody(run, short, hopper):
    one = run(short, hopper, model="classical")
    assert one.data["replaced"][0]["ranges"] == [[0, 7]]
    everybody = run(short, hopper, model="classical", faces="many")
    assert everybody.data["replaced"][0]["ranges"] == [[0, 15]]


@pytest.mark.parametrize("name", ["astro_sync_2997.mp4", "astro_sync_23976.mkv"])
def test_the_flash_stays_on_its_frame_and_with_its_beep(run, clips, hopper, name):
    """The flash of each second is drawn outside the face; sound is copied, times are kept."""
    clip = clips / name
    result = run(clip, hopper, faces="many")
    before, after = index_video(clip, LIMITS), index_video(result.files[0].path, LIMITS)
    assert [after.seconds(pts) for pts in after.pts] == pytest.approx(
        [before.seconds(pts) for pts in before.pts], abs=1e-6
    )
    flashes = [flashing(frame) for frame in pictures(clip)]
    assert 10 < sum(flashes) < 25
    assert [flashing(frame) for frame in pictures(result.files[0].path)] == flashes
    assert sound(result.files[0].path) == sound(clip)
    assert result.data["faces_replaced"] == len(flashes)


def flashing(frame: np.ndarray) -> bool:
    """Whether the white box is there."""
    return bool(frame[FLASH].mean() > 200)


def sound(path: Path) -> str:
    """Checksum and time of every packet of sound."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", path]
    command += ["-map", "0:a", "-c", "copy", "-f", "streamhash", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_learned_swapper_runs_on_lanes_and_its_time_adds_up(run, short, hopper):
    result = run(short, hopper, faces="many", enhance_level=2, mask=["box", "occlusion"])
    stages = result.usage.stages_ms
    assert {"detect", "swap", "mask", "enhance", "blend"} <= set(stages)
    assert result.usage.gpu_ms <= result.usage.wall_ms
    assert result.usage.work.attributes["media"] == "video"
    assert result.data["faces_replaced"] == 16


def test_a_canceled_video_costs_the_frames_done(run, context, short, hopper):
    context.canceled_after = 8
    with pytest.raises(CanceledRunError) as caught:
        run(short, hopper, model="classical", faces="many")
    work = caught.value.usage.work.quantities
    assert 8 <= work["frames"] <= 16
    assert work["seconds"] == pytest.approx(work["frames"] / 25, rel=1e-3)


def test_a_video_without_a_face_or_without_the_person_fails_by_name(
    run, clips, short, hopper, faces
):
    with pytest.raises(InvalidInputError) as caught:
        run(clips / "av1_video.mkv", hopper, model="classical", faces="many")
    assert caught.value.code == "no_face_found"
    asked = {"faces": "reference", "reference": {"file": 1}}
    with pytest.raises(InvalidInputError) as caught:
        run(short, hopper, faces / "kodim04.png", model="classical", **asked)
    assert caught.value.code == "no_matching_face"


@pytest.fixture
def in_parts(stubs, context):
    """Run the classical model over a video in parts, and join them."""

    def run(video: Path, source: Path, **asked: object):
        engine, model = engine_of(stubs), stubs.resolve("face-swap", "classical")
        params, numbers = engine.params_model.model_validate(asked), count(100)
        assert isinstance(engine, SegmentedEngine)
        assert engine.overlap(model, params, InputMedia(index_video(video, LIMITS).info())) > 0

        def contexts():
            folder = context.work_dir / str(next(numbers))
            folder.mkdir()
            return replace(context, work_dir=folder)

        class Sourced:
            """The engine on the same source at every call."""

            joined = engine.joined

            def run(self, model, params, files, context):
                return engine.run(model, params, replace(files, sources=(source,)), context)

        return run_in_parts(Sourced(), model, params, video, contexts)

    return run


@pytest.mark.parametrize(
    "asked", [{"faces": "many"}, {"faces": "reference", "reference": {"frame": 12}}]
)
def test_parts_of_a_video_give_what_one_run_gives(asked, short, faces, run, in_parts):
    source = faces / "kodim04.png"
    one = run(short, source, model="classical", **asked)
    many, parts = in_parts(short, source, **asked)
    assert len(parts) == 4
    told = ("replaced", "faces_found", "faces_replaced", "roles_missing", "frames", "duration_s")
    assert {name: many.data[name] for name in told} == {name: one.data[name] for name in told}
    assert many.usage.work == one.usage.work
    assert sum(part.usage.work.quantities["frames"] for part in parts) == 16
    seconds = sum(part.usage.work.quantities["seconds"] for part in parts)
    assert seconds == pytest.approx(one.usage.work.quantities["seconds"])


def test_what_depends_on_every_frame_before_is_not_split(stub_registry, short):
    registry = stub_registry(without=("mobilefacenet_foamliu_dynbatch.onnx",))
    engine, model = engine_of(registry), registry.resolve("face-swap", "classical")
    media = InputMedia(index_video(short, LIMITS).info())
    assert engine.overlap(model, engine.params_model(), media) is None
    assert engine.overlap(model, engine.params_model(faces="many"), media) is not None
