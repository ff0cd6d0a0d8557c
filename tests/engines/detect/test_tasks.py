"""Whole runs of networks that segment, pose, answer nonsense or are none, and of odd pictures."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from engines.errors import EngineError, InvalidInputError
from engines.media.images import read_image
from engines.media.limits import MediaLimits
from engines.media.probe import probe

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers"))

from networks import SIDE, tiny_yolo


@pytest.fixture
def added(registry, tmp_path):
    """Register a tiny network under a model's name."""

    def add(model, **kind):
        registry.add(model, tiny_yolo(tmp_path / "tiny.onnx", **kind), licence="ours")
        return registry

    return add


def test_a_segmenting_network_gives_masks_of_the_picture_and_draws_them(added, run, cat_photo):
    registry = added("yolov8n-seg", task="segment")
    _, result = run(registry, cat_photo, "yolov8n-seg", conf=0.9, annotate=True, max_det=5)
    masks = [each["mask"] for each in result.data["predictions"]]
    assert masks
    assert {tuple(mask["size"]) for mask in masks} == {(300, 451)}
    [picture] = result.files
    assert (read_image(picture.path).pixels != read_image(cat_photo).pixels).mean() > 0.02
    _, canvas = run(registry, cat_photo, "yolov8n-seg", conf=0.9, mask_size="network")
    assert {tuple(each["mask"]["size"]) for each in canvas.data["predictions"]} == {(SIDE, SIDE)}


def test_a_posing_network_gives_keypoints_inside_the_picture(added, run, cat_photo):
    registry = added("yolo26n-pose", task="pose", decided=True)
    plan, result = run(registry, cat_photo, "yolo26n-pose", conf=0.5)
    points = np.array([each["keypoints"] for each in result.data["predictions"]])
    assert points.shape[1:] == (17, 3)
    assert (points[..., 0] <= 451).all()
    assert (points[..., 1] <= 300).all()
    assert plan.attributes["model"] == "yolov8n"  # whose price it has


def test_exports_of_a_picture_are_files_of_the_job(added, run, cat_photo):
    registry = added("yolo11n-seg", task="segment")
    _, result = run(registry, cat_photo, "yolo11n-seg", conf=0.9, export=["coco", "yolo"])
    files = {file.name: file for file in result.files}
    assert {name: file.media_type for name, file in files.items()} == {
        "coco.json": "application/json",
        "labels.txt": "text/plain",
    }
    told = json.loads(files["coco.json"].path.read_text())
    predictions = result.data["predictions"]
    assert [each["segmentation"] for each in told["annotations"]] == [
        each["mask"] for each in predictions
    ]
    assert [each["name"] for each in told["categories"]] == ["red", "green", "blue"]
    assert len(files["labels.txt"].path.read_text().splitlines()) == len(predictions)


def test_exports_of_a_video_have_every_frame(added, run, small_clip):
    registry = added("yolov8n-pose", task="pose")
    _, result = run(registry, small_clip, "yolov8n-pose", conf=0.9, export=["coco", "yolo"])
    files = {file.name: file.path for file in result.files}
    with zipfile.ZipFile(files["labels.zip"]) as archive:
        assert len(archive.namelist()) == result.data["frames"] == 5
    told = json.loads(files["coco.json"].read_text())
    assert [image["file_name"] for image in told["images"]] == [f"{n:06d}" for n in range(5)]
    listing = json.loads(files["detections.json"].read_text())["frames"]
    assert len(told["annotations"]) == sum(len(each["predictions"]) for each in listing)


@pytest.fixture
def small_clip(tmp_path, cat_photo):
    """Five frames of the cat."""
    import subprocess

    from engines.media.ffmpeg import find_ffmpeg

    path = tmp_path / "cat.mp4"
    loop = ["-v", "error", "-loop", "1", "-framerate", "5", "-t", "1"]
    command = [find_ffmpeg(), *loop, "-i", str(cat_photo)]
    shape = ["-vf", "scale=160:106", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run([*command, *shape], check=True)
    return path


def constant_network(path, value, *, shape=(1, 84, 100), inputs=("images",), metadata=None):
    """A network that answers every picture with one value everywhere."""
    pictures = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 64, 64]) for name in inputs
    ]
    rows = np.full(shape, value, np.float32)
    nodes = [
        helper.make_node("ReduceSum", [inputs[0]], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "rows"], ["output0"]),
    ]
    tensors = [
        onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
        onnx.numpy_helper.from_array(rows, "rows"),
    ]
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "constant", pictures, [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    "network",
    [
        {"value": float("nan"), "code": "network_output_invalid"},
        {"value": float("inf"), "code": "network_output_invalid"},
        {"value": 0.5, "inputs": ("images", "mask")},
        {"value": 0.5, "metadata": {"names": "{0: 'a', 1: 'b'}"}},
        {"value": 0.5, "metadata": {"task": "classify"}},
        {"value": 0.5, "shape": (1, 1000)},
        {"value": 0.5, "shape": (1, 3, 100)},
    ],
)
def test_networks_of_another_kind_end_as_clear_codes(registry, run, tmp_path, cat_photo, network):
    code = network.get("code", "weights_unreadable")
    kind = {key: value for key, value in network.items() if key != "code"}
    registry.add("yolov8s", constant_network(tmp_path / "net.onnx", **kind), licence="ours")
    for _ in range(2):  # the process goes on
        with pytest.raises(EngineError) as refused:
            run(registry, cat_photo, "yolov8s")
        assert (refused.value.code, refused.value.retryable) == (code, False)
    assert run(registry, cat_photo, "builtin")[1].data["model"] == "builtin@1"


def test_an_input_of_another_name_is_simply_used(registry, run, tmp_path, cat_photo):
    network = constant_network(tmp_path / "net.onnx", 0.0, inputs=("pixels",))
    registry.add("yolov8s", network, licence="ours")
    assert run(registry, cat_photo, "yolov8s")[1].data["predictions"] == []


@pytest.mark.parametrize("size", [(1, 1), (8000, 2), (2, 8000), (5000, 5000)])
def test_the_oddest_pictures_within_the_limits_have_an_answer(added, run, tmp_path, size):
    path = tmp_path / "odd.png"
    Image.new("RGB", size, (90, 120, 200)).save(path)
    _, result = run(
        added("yolov8n-seg", task="segment"), path, "yolov8n-seg", annotate=True, max_det=5
    )
    width, height = size
    assert (result.data["width"], result.data["height"]) == size
    for each in result.data["predictions"]:
        x1, y1, x2, y2 = each["box"]
        assert 0 <= x1 <= x2 <= width
        assert 0 <= y1 <= y2 <= height
        assert each["mask"]["size"] == [height, width]


def test_one_row_more_than_25_megapixels_is_refused_by_name(tmp_path):
    path = tmp_path / "large.png"
    Image.new("L", (5000, 5001)).save(path)
    with pytest.raises(InvalidInputError, match="25000000 pixels") as refused:
        probe(path, MediaLimits())
    assert refused.value.code == "image_too_large"
