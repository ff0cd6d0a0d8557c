"""Detections against those of the reference implementation, with the same network file.

Its numbers are in ``goldens/`` and are compared always; where ``make bench-peers`` was run, the
implementation itself is asked as well. See ``tests/peers/README.md``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.detect.detection import Question
from engines.detect.detector import detect_frames
from engines.detect.network import NetworkDetector
from engines.detect.yolov8 import yolov8
from engines.media.images import read_image
from engines.metering import StageClock
from engines.runners.ort import open_onnx

PEERS = Path(__file__).resolve().parents[2] / "peers"
sys.path.insert(0, str(PEERS))

from networks import SIDE, tiny_yolo  # noqa: E402
from peer import Peer, export, is_installed  # noqa: E402
from write_goldens import GOLDENS, REAL, TINY, mask_numbers, skimage_pictures  # noqa: E402
from write_goldens import test_pictures as reference_pictures  # noqa: E402

BOX_PX, SCORE, POINT_PX, MASK_IOU = 0.01, 1e-4, 0.05, 0.999
NETWORKS = [
    ("yolov8n-seg", "segment", {}),
    ("yolov8n-pose", "pose", {}),
    ("yolov10n", "detect", {"nms": False}),
    ("yolo26n", "detect", {"nms": False}),
    ("yolo26n-seg", "segment", {"nms": False}),
]
with_peer = pytest.mark.skipif(not is_installed(), reason="make bench-peers was not run")


def found_by_us(model, pictures, *, size=(640, 640), **asked):
    detector = NetworkDetector(open_onnx(model, threads=2), yolov8)
    question = Question(size=size, **asked)
    for path in pictures:
        [found] = detect_frames(detector, [read_image(path).pixels], question, StageClock())
        yield found


def assert_same(found, boxes, keypoints=None, *, where):
    mine = np.array([[*each.box, each.confidence, each.class_id] for each in found]).reshape(-1, 6)
    theirs = np.array(boxes, dtype=float).reshape(-1, 6)
    assert len(mine) == len(theirs), where
    if not len(mine):
        return
    assert np.abs(mine[:, :4] - theirs[:, :4]).max() <= BOX_PX, where
    assert np.abs(mine[:, 4] - theirs[:, 4]).max() <= SCORE, where
    assert np.array_equal(mine[:, 5], theirs[:, 5]), where
    if keypoints is not None:
        points = np.array([each.keypoints for each in found])
        assert np.abs(points - np.array(keypoints)).max() <= POINT_PX, where


@pytest.mark.parametrize("model", list(REAL))
def test_yolov8n_finds_what_the_reference_found_on_every_picture(model, model_mirror, test_media):
    goldens = json.loads((GOLDENS / "yolov8n.json").read_text())[model]
    pictures = reference_pictures(test_media)
    assert len(pictures) >= len(goldens) == 18
    pictures = [path for path in pictures if path.name in goldens]
    total = 0
    for path, found in zip(pictures, found_by_us(model_mirror / model, pictures), strict=True):
        assert_same(found, goldens[path.name]["boxes"], where=path.name)
        total += len(found)
    assert total == 89


@pytest.mark.parametrize("decided", [False, True], ids=["raw", "decided"])
@pytest.mark.parametrize("task", ["detect", "segment", "pose"])
def test_tiny_networks_are_read_as_the_reference_reads_them(tmp_path, task, decided):
    name = f"{task}-{'decided' if decided else 'raw'}"
    goldens = json.loads((GOLDENS / "tiny.json").read_text())[name]
    model = tiny_yolo(tmp_path / "tiny.onnx", task=task, decided=decided)
    pictures = skimage_pictures()
    answers = found_by_us(model, pictures, size=(SIDE, SIDE), **TINY)
    for path, found in zip(pictures, answers, strict=True):
        golden = goldens[path.name]
        assert_same(found, golden["boxes"], golden.get("keypoints"), where=path.name)
        for each, expected in zip(found, golden.get("masks", ()), strict=task == "segment"):
            assert mask_numbers(each.mask.whole()) == pytest.approx(expected, rel=5e-4)


@pytest.fixture(scope="module")
def peer():
    with Peer() as peer:
        yield peer


@with_peer
@pytest.mark.parametrize("model", list(REAL))
def test_yolov8n_finds_what_the_peer_finds_now(model, peer, model_mirror, test_media):
    pictures = reference_pictures(test_media)
    answers = peer.predict(model_mirror / model, "detect", pictures, **REAL[model])
    mine = found_by_us(model_mirror / model, pictures)
    for path, found, answer in zip(pictures, mine, answers, strict=True):
        assert_same(found, answer.boxes, where=path.name)


@with_peer
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network[0])
def test_architectures_with_random_weights_agree_with_the_peer(peer, tmp_path, cat_photo, network):
    name, task, options = network
    model = export(name, tmp_path / "net.onnx", **options)
    # of a picture with harder contrasts, many scores are 1.0 exactly: their order is anybody's
    pictures, asked = [cat_photo], {"conf": 0.2, "iou": 0.6}
    square = {"rect": False, "retina_masks": True}
    answers = peer.predict(model, task, pictures, **asked, **square)
    for found, answer in zip(found_by_us(model, pictures, **asked), answers, strict=True):
        assert len(answer.boxes) >= 5
        assert_same(found, answer.boxes, answer.keypoints, where=name)
        for each, theirs in zip(found, answer.masks if task == "segment" else (), strict=False):
            assert overlap(each.mask.whole(), theirs) > MASK_IOU
    if task == "segment":
        [answer] = peer.predict(model, task, pictures[:1], **asked, rect=False)
        [found] = found_by_us(model, pictures[:1], masks_of_picture=False, **asked)
        for each, theirs in zip(found, answer.masks, strict=True):
            assert overlap(each.mask.whole(), theirs) > MASK_IOU


def overlap(mine, theirs):
    return (mine & theirs).sum() / (mine | theirs).sum()
