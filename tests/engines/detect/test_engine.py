import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from engines.errors import CanceledError, EngineFaultError, InvalidInputError
from engines.media.ffmpeg import find_ffmpeg
from engines.media.images import read_image
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.registry import open_registry
from engines.spec import CanceledRunError, InputMedia

DATA = Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Ten frames of the astronaut, with sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    command = f"{find_ffmpeg()} -v error -loop 1 -framerate 10 -t 1 -i {DATA / 'astronaut.png'}"
    sound = "-f lavfi -i sine=d=1 -vf scale=320:320 -pix_fmt yuv420p -c:v libx264 -c:a aac"
    subprocess.run([*command.split(), *sound.split(), str(path)], check=True)
    return path


@pytest.fixture
def mirrored(tmp_path, model_mirror):
    """The shipped engines with real weights."""
    return open_registry(store=tmp_path / "store", mirror=str(model_mirror))


def labels(result):
    return [each["label"] for each in result.data["predictions"]]


def test_a_picture_without_weights_uses_the_builtin_and_says_so(registry, run, photo):
    plan, result = run(registry, photo, None)
    assert labels(result) == ["face"]
    assert set(result.data["predictions"][0]) == {"class_id", "label", "confidence", "box"}
    assert result.data["model"] == result.usage.model == "builtin@1"
    assert result.data["weights_sha256"] is None
    assert result.usage.runner == "opencv"
    assert result.files == ()
    assert plan == result.usage.work
    assert dict(plan.quantities) == {"images": 1, "input_pixels": 640 * 640}
    assert dict(plan.attributes) == {"media": "image", "model": "builtin"}
    assert result.usage.gpu_ms <= result.usage.wall_ms
    json.dumps(result.data, allow_nan=False)


def test_annotating_gives_the_picture_back_with_boxes(registry, run, photo):
    _, result = run(registry, photo, "builtin", annotate=True)
    [file] = result.files
    assert (file.name, file.media_type) == ("annotated.png", "image/png")
    drawn, original = read_image(file.path).pixels, read_image(photo).pixels
    assert drawn.shape == original.shape
    x1, y1, _, y2 = (round(value) for value in result.data["predictions"][0]["box"])
    assert (drawn[(y1 + y2) // 2, x1] != original[(y1 + y2) // 2, x1]).any()
    assert np.array_equal(drawn[400:], original[400:])


def test_boxes_are_in_pixels_of_the_upright_picture(registry, run, tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photo) as image:
        turned = image.convert("RGB").transpose(Image.Transpose.ROTATE_90)
        turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    _, straight = run(registry, photo, "builtin")
    _, upright = run(registry, tmp_path / "turned.jpg", "builtin")
    boxes = [each.data["predictions"][0]["box"] for each in (straight, upright)]
    assert np.abs(np.subtract(*boxes)).max() < 10


def test_the_price_follows_the_size_asked_for(registry, photo):
    engine = registry.engine("detect")
    media = InputMedia(probe(photo, MediaLimits()))
    for asked, pixels in ((None, 409_600), (320, 102_400), ([384, 640], 245_760)):
        params = engine.params_model(img_size=asked)
        plan = engine.plan(registry.resolve("detect", "yolov8l"), params, media)
        assert plan.quantities["input_pixels"] == pixels
        assert plan.attributes["model"] == "yolov8l"


def test_a_fixed_network_refuses_other_sizes_and_names_its_own(registry, photo):
    engine, media = registry.engine("detect"), InputMedia(probe(photo, MediaLimits()))
    model = registry.resolve("detect", "yolox-nano")
    plan = engine.plan(model, engine.params_model(), media)
    assert plan.quantities["input_pixels"] == 416 * 416
    assert engine.plan(model, engine.params_model(img_size=416), media) == plan
    with pytest.raises(InvalidInputError, match=r"\[416, 416\] only") as refused:
        engine.plan(model, engine.params_model(img_size=640), media)
    assert refused.value.code == "img_size_unsupported"


def test_an_operators_fixed_export_is_known_by_its_shape(registry, tiny_onnx, photo):
    export = tiny_onnx("s.onnx", shape=(1, 3, 320, 320))
    model = registry.add("yolov8s", export, licence="AGPL-3.0")
    engine, media = registry.engine("detect"), InputMedia(probe(photo, MediaLimits()))
    plan = engine.plan(model, engine.params_model(), media)
    assert plan.quantities["input_pixels"] == 320 * 320
    with pytest.raises(InvalidInputError):
        engine.plan(model, engine.params_model(img_size=640), media)


def test_weights_of_another_network_are_refused_before_they_run(registry, run, tiny_onnx, photo):
    registry.add("yolov8m", tiny_onnx("m.onnx"), licence="MIT")
    with pytest.raises(EngineFaultError, match="no YOLO export") as refused:
        run(registry, photo, "yolov8m", img_size=64)
    assert refused.value.code == "weights_unreadable"


def test_a_video_is_counted_frame_by_frame(registry, run, clip, context):
    plan, result = run(registry, clip, "builtin", img_size=320)
    assert plan == result.usage.work
    assert dict(plan.quantities) == {"frames": 10, "input_pixels": 320 * 320}
    [listing] = result.files
    frames = json.loads(listing.path.read_text())["frames"]
    assert len(frames) == result.data["frames"] == 10
    assert frames[9]["pts_s"] == pytest.approx(0.9)
    assert result.data["classes"]["face"]["frames"] == 10
    assert result.data["predictions"][0]["label"] == "face"
    assert context.reports[-1] == (10, 10, "frames")


def test_an_annotated_video_keeps_its_length_and_sound(registry, run, clip):
    _, result = run(registry, clip, "builtin", img_size=320, annotate=True)
    video, listing = result.files
    assert (video.name, listing.name) == ("annotated.mp4", "detections.json")
    info, source = probe(video.path, MediaLimits()), probe(clip, MediaLimits())
    assert (info.frames, info.width, info.has_audio) == (source.frames, source.width, True)
    assert info.duration_s == pytest.approx(source.duration_s, abs=0.01)


@pytest.mark.parametrize("annotate", [False, True])
def test_a_canceled_run_stops_and_leaves_no_video(registry, run, clip, context, annotate):
    context.canceled = True
    with pytest.raises(CanceledError):
        run(registry, clip, "builtin", annotate=annotate)
    assert not list(context.work_dir.glob("annotated*"))


@pytest.mark.parametrize("annotate", [False, True])
def test_a_run_canceled_on_the_way_tells_the_frames_it_looked_at(
    registry, run, clip, context, annotate
):
    context.canceled_after = 1
    with pytest.raises(CanceledRunError) as stopped:
        run(registry, clip, "builtin", annotate=annotate, img_size=320)
    quantities = dict(stopped.value.usage.work.quantities)
    assert 0 < quantities["frames"] < 10
    assert quantities["input_pixels"] == 320 * 320
    assert stopped.value.usage.gpu_ms > 0


def test_yolov8n_sees_the_astronaut_and_that_the_cat_is_no_person(mirrored, run):
    _, result = run(mirrored, DATA / "astronaut.png", None)
    assert result.data["model"] == "yolov8n@1"
    assert labels(result) == ["person"]
    assert result.data["weights_sha256"].startswith("2b668334c4fa")
    assert result.usage.provider == "CPUExecutionProvider"
    assert result.usage.cold_start_ms > 0
    _, again = run(mirrored, DATA / "chelsea.png", "yolov8n")
    assert labels(again) == ["cat"]
    assert again.usage.cold_start_ms == 0


def test_yolov8n_runs_at_the_size_asked_for(mirrored, run):
    _, result = run(mirrored, DATA / "astronaut.png", "yolov8n@1", img_size=[320, 416])
    assert result.data["img_size"] == [320, 416]
    assert labels(result) == ["person"]


def test_yolox_sees_the_astronaut_and_that_the_cat_is_no_person(mirrored, run):
    assert labels(run(mirrored, DATA / "astronaut.png", "yolox-nano")[1]) == ["person"]
    assert labels(run(mirrored, DATA / "chelsea.png", "yolox-nano")[1]) == ["cat"]


@pytest.mark.parametrize("model", ["yolov8n", "yolox-nano"])
def test_the_people_of_a_group_are_counted(mirrored, run, test_media, model):
    _, result = run(mirrored, test_media / "faces" / "group_situation_room_2011.jpg", model)
    assert labels(result).count("person") >= 10
    _, walk = run(mirrored, test_media / "video" / "two_walking.mp4", model)
    assert walk.data["classes"]["person"]["frames"] == walk.data["frames"] == 36
    assert walk.data["classes"]["person"]["most_at_once"] == 2
