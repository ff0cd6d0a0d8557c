"""Plans are built for real, without a GPU, and found again by what they depend on."""

import sys
from dataclasses import replace

import onnx
import pytest

from engines.errors import EngineFaultError, InvalidInputError
from engines.plans.build import check_target, targets
from engines.plans.building import build_apart
from engines.plans.making import make_plan, read_wanted
from engines.profiles import Profile
from engines.runners.flavours import FlavourName, load_flavour
from engines.runners.host import Gpu

SMALL = Profile("images", (1, 3, 8, 8), (2, 3, 16, 16), (4, 3, 32, 32))

# Every network of the mirror and the shapes its plans are for; fixed ones need none.
FREE = {
    "yolov8n_recon_dyn.onnx": ("images", (1, 3, 256, 256), (4, 3, 512, 512), (8, 3, 1024, 1024)),
    "mobilefacenet_foamliu_dynbatch.onnx": ("input0", *(((n, 3, 112, 112)) for n in (1, 4, 8))),
    "realesr_animevideov3_x4.onnx": ("input", *((1, 3, s, s) for s in (64, 256, 512))),
    "tiny_colorizer.onnx": ("gray", *((n, 1, s, s) for n, s in ((1, 256), (4, 512), (8, 1024)))),
    "yunet_n_dynamic.onnx": ("input", *((n, 3, s, s) for n, s in ((1, 320), (4, 640), (8, 1280)))),
    "stubs/stub_bisenet.onnx": ("input", *((n, 3, 512, 512) for n in (1, 4, 8))),
    "stubs/stub_ddcolor.onnx": ("input", *((n, 3, 256 * n, 256 * n) for n in (1, 2, 4))),
    "stubs/stub_w600k_r50.onnx": ("input.1", *((n, 3, 112, 112) for n in (1, 4, 8))),
    "stubs/stub_xseg.onnx": ("input", *((n, 256, 256, 3) for n in (1, 4, 8))),
}


def test_a_plan_is_built_once_and_found_from_then_on(rtx, cache, wanted, small_network):
    network = wanted(small_network, SMALL)
    first = make_plan(network, flavour=rtx, target="sm89", cache=cache)
    again = make_plan(network, flavour=rtx, target="sm89", cache=cache)
    assert (first.was_there, again.was_there) == (False, True)
    assert first.plan == again.plan
    assert first.plan.size == len(first.plan.read()) > 1000
    assert first.plan.metadata["names"] == "{0: 'a'}"
    assert sorted(path.suffix for path in cache.folder.iterdir()) == [".json", ".plan"]


def test_whatever_a_plan_depends_on_makes_another_plan(rtx, cache, wanted, small_network):
    network = wanted(small_network, SMALL)
    make_plan(network, flavour=rtx, target="sm89", cache=cache)
    tensor = onnx.load_from_string(small_network).graph.initializer[0].raw_data
    changed = bytearray(small_network)
    changed[small_network.index(tensor) + 1] ^= 1
    wider = replace(SMALL, max=(8, 3, 32, 32))
    others = {
        "target": make_plan(network, flavour=rtx, target="sm80", cache=cache),
        "weights": make_plan(
            wanted(bytes(changed), SMALL), flavour=rtx, target="sm89", cache=cache
        ),
        "profile": make_plan(wanted(small_network, wider), flavour=rtx, target="sm89", cache=cache),
        "precision": make_plan(
            wanted(small_network, SMALL, tf32=True), flavour=rtx, target="sm89", cache=cache
        ),
    }
    assert {name for name, made in others.items() if made.was_there} == set()
    assert len({made.plan.path for made in others.values()}) == len(others)
    newer = replace(rtx, version="1.7.2")
    assert network.key(newer, "sm89").digest != network.key(rtx, "sm89").digest
    same = replace(SMALL, file="net.onnx", values=(0.0, 255.0))  # says nothing about the plan
    assert make_plan(wanted(small_network, same), flavour=rtx, target="sm89", cache=cache).was_there


def test_a_target_that_a_flavour_does_not_build_for_is_refused_with_the_list(rtx):
    assert {"sm80", "sm86", "sm89", "sm120"} <= set(targets(rtx))
    check_target(rtx, "sm89")
    with pytest.raises(InvalidInputError, match="sm80, sm86") as refused:
        check_target(rtx, "sm90")
    assert refused.value.code == "target_unsupported"


def test_the_flavour_for_data_centres_builds_for_the_gpus_of_this_host_only(rtx):
    flavour = replace(rtx, name=FlavourName.TENSORRT)
    check_target(flavour, "sm90", [Gpu(0, "NVIDIA H100", (9, 0), 80 << 30)])
    with pytest.raises(InvalidInputError, match="needs the GPU it builds for"):
        check_target(flavour, "sm90")
    with pytest.raises(InvalidInputError, match="builds here for sm90"):
        check_target(flavour, "sm89", [Gpu(0, "NVIDIA H100", (9, 0), 80 << 30)])


def test_a_flavour_that_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineFaultError, match="extra tensorrt") as refused:
        load_flavour(FlavourName.TENSORRT)
    assert refused.value.code == "runner_unavailable"


def test_a_free_input_without_a_profile_is_named(tmp_path, small_network):
    path = tmp_path / "net.onnx"
    path.write_bytes(small_network)
    with pytest.raises(EngineFaultError, match=r"images in any size \(\?x3x\?x\?\)") as refused:
        read_wanted(path, sha256="0" * 64, profiles=())
    assert refused.value.code == "profile_missing"


def test_an_operator_that_tensorrt_does_not_know_is_told_with_its_reason(rtx, wanted, tiny_onnx):
    model = onnx.load(tiny_onnx())
    model.graph.node[0].op_type = "Multinomial"
    del model.graph.node[0].input[1:]
    content = model.SerializeToString()
    with pytest.raises(EngineFaultError, match=r"built no plan for sm89: \w+") as refused:
        build_apart(content, flavour=rtx, target="sm89", profiles=())
    assert refused.value.code == "plan_failed"
    assert not refused.value.retryable


@pytest.mark.parametrize("target", ["sm80", "sm89"])
def test_every_network_of_the_mirror_gets_a_real_plan(rtx, cache, wanted, model_mirror, target):
    files = sorted(str(path.relative_to(model_mirror)) for path in model_mirror.rglob("*.onnx"))
    assert set(FREE) <= set(files)
    sizes = {}
    for file in files:
        profiles = (Profile(*FREE[file]),) if file in FREE else ()
        network = wanted((model_mirror / file).read_bytes(), *profiles, file=file)
        made = make_plan(network, flavour=rtx, target=target, cache=cache)
        sizes[file] = made.plan.size
        assert make_plan(network, flavour=rtx, target=target, cache=cache).was_there
    assert 10e6 < sizes["yolov8n_recon_dyn.onnx"] < 30e6
