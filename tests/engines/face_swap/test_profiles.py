"""A GPU host can make a plan of every network of the engine that takes any number of faces."""

import sys
from pathlib import Path

import pytest

import engines.face_swap
from engines.faces.nets.batches import BATCH_MAX
from engines.manifest import load_manifest
from engines.profiles import choose_profiles
from engines.runners.ort import open_onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers"))

from face_networks import scrfd

MANIFEST = load_manifest(Path(engines.face_swap.__file__).parent / "engine.toml")
NETWORKS = {
    "stubs/stub_w600k_r50.onnx": (BATCH_MAX, 3, 112, 112),
    "mobilefacenet_foamliu_dynbatch.onnx": (BATCH_MAX, 3, 112, 112),
    "stubs/stub_xseg.onnx": (BATCH_MAX, 256, 256, 3),
    "stubs/stub_bisenet.onnx": (BATCH_MAX, 3, 512, 512),
    "realesr_animevideov3_x4.onnx": (BATCH_MAX, 3, 128, 128),
}


@pytest.mark.parametrize("model", [each.name for each in MANIFEST.models])
@pytest.mark.parametrize("network", NETWORKS)
def test_as_many_faces_as_are_run_at_once_are_within_the_plan(network, model, model_mirror):
    [declared] = [each for each in MANIFEST.models if each.name == model]
    path = model_mirror / network
    with open_onnx(path, threads=1) as runner:
        shapes = {spec.name: spec.shape for spec in runner.inputs}
    [profile] = choose_profiles(shapes, declared.profiles, file=path.name)
    assert profile.max == NETWORKS[network]
    assert profile.min[0] == 1


def test_a_detector_of_any_size_has_a_plan_for_both_of_its_passes(tmp_path):
    with open_onnx(scrfd(tmp_path / "det_10g.onnx"), threads=1) as runner:
        [spec] = runner.inputs
    # published files name it input.1
    [profile] = choose_profiles(
        {"input.1": spec.shape}, MANIFEST.models[0].profiles, file="det_10g.onnx"
    )
    assert profile.min[2:] == (128, 128)
    assert profile.opt[2:] == (640, 640)
