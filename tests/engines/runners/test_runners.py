"""The contract of runners, over every runner that is installed; GPU ones on recorded devices."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineFaultError
from engines.runners import ort_cuda
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner
from engines.runners.flavours import Flavour, FlavourName
from engines.runners.ort import OrtRunner, open_onnx, usable_cores
from engines.runners.ov import OpenVinoRunner
from engines.runners.trt import TrtRunner

sys.path.insert(0, str(Path(__file__).parent))

from recording import HostSession, Network, RecordedTrt, recorded_device

ROOT = Path(__file__).resolve().parents[3]
FREE_BATCH = (None, 3, 64, 64)
METADATA = {"names": "{0: 'a'}"}
SPEC = TensorSpec("images", FREE_BATCH, np.dtype(np.float32))
OUT = TensorSpec("output0", FREE_BATCH, np.dtype(np.float32))


def add_one(feeds):
    return {"output0": feeds["images"] + 1}


def open_fake(path, patch):
    return FakeRunner(add_one, inputs=(SPEC,), outputs=(OUT,), metadata=METADATA)


def open_ort(path, patch):
    return open_onnx(path, threads=1)


def open_openvino(path, patch):
    return OpenVinoRunner(path.read_bytes(), threads=1)


def open_ort_cuda(path, patch):
    device, cuda = recorded_device()
    real = ort_cuda.open_session

    def open_session(model, *, providers, threads):
        assert providers[0][0] == "CUDAExecutionProvider"
        session = real(model, providers=["CPUExecutionProvider"], threads=threads)
        return HostSession(session, cuda)

    patch.setattr(ort_cuda, "open_session", open_session)
    patch.setattr("onnxruntime.get_available_providers", lambda: [ort_cuda.PROVIDER])
    return ort_cuda.OrtCudaRunner(path.read_bytes(), device=device)


def open_trt(path, patch):
    device, cuda = recorded_device()
    network = Network(
        inputs=(SPEC,),
        outputs=(OUT,),
        limits={"images": ((1, 3, 64, 64), (2, 3, 64, 64), (4, 3, 64, 64))},
        shapes=lambda shapes: {"output0": shapes["images"]},
        compute=add_one,
    )
    flavour = Flavour(FlavourName.TENSORRT, RecordedTrt(network, cuda), "11.4.0")
    return TrtRunner(
        b"plan",
        flavour=flavour,
        device=device,
        metadata=METADATA,
        precision="fp32",
        key="sm89-0123",
    )


OPENERS = {
    "fake": open_fake,
    "onnxruntime": open_ort,
    "openvino": open_openvino,
    "onnxruntime on a recorded GPU": open_ort_cuda,
    "tensorrt on a recorded GPU": open_trt,
}
if find_spec("openvino") is None:
    del OPENERS["openvino"]


@pytest.fixture(params=OPENERS.values(), ids=OPENERS)
def runner(request, tiny_onnx, monkeypatch):
    with request.param(tiny_onnx(metadata=METADATA), monkeypatch) as runner:
        yield runner


def feed(n=2):
    return np.zeros((n, 3, 64, 64), dtype=np.float32)


def test_a_runner_maps_named_arrays_to_named_arrays(runner):
    outputs = runner.run({"images": feed()})
    assert list(outputs) == ["output0"]
    assert np.array_equal(outputs["output0"], feed() + 1)
    assert runner.elapsed_ms > 0
    assert runner.elapsed_ms == sum(runner.stages_ms.values())


def test_a_runner_describes_itself(runner):
    assert runner.inputs[0].shape == FREE_BATCH
    assert runner.outputs[0].name == "output0"
    assert runner.metadata["names"] == "{0: 'a'}"
    assert runner.precision == "fp32"
    assert runner.provider
    assert runner.facts.device


@pytest.mark.parametrize(
    ("feeds", "names"),
    [
        ({}, "images"),
        ({"pictures": feed()}, "pictures"),
        ({"images": feed(), "more": feed()}, "more"),
        ({"images": feed().astype(np.float64)}, "float64"),
        ({"images": feed()[:, :, :32]}, "32"),
        ({"images": feed()[0]}, "shape"),
    ],
)
def test_wrong_feeds_are_named(runner, feeds, names):
    with pytest.raises(EngineFaultError, match=names):
        runner.run(feeds)


def test_a_closed_runner_says_so_and_may_be_closed_again(runner):
    runner.close()
    runner.close()
    assert runner.facts.kind
    with pytest.raises(EngineFaultError, match="closed"):
        runner.run({"images": feed()})


def test_outputs_belong_to_the_caller_for_as_long_as_he_holds_them(runner):
    first = runner.run({"images": feed(1) + 1})["output0"]
    part = first[0, 0, :2]
    del first
    for number in range(2, 5):
        runner.run({"images": feed(1) + number})
    assert np.array_equal(part, np.full((2, 64), 2.0))


def test_threads_that_share_a_runner_get_their_own_results_and_times(runner):
    def ask(number):
        outputs = runner.run({"images": feed(1 + number % 4) + number})
        return outputs["output0"], runner.elapsed_ms

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(24)))
    for number, (array, elapsed_ms) in enumerate(answers):
        assert np.array_equal(array, feed(1 + number % 4) + number + 1)
        assert elapsed_ms > 0


def test_a_network_that_gives_nan_is_not_believed(runner):
    spoiled = feed()
    spoiled[1, 2, 3, 4] = np.nan
    with pytest.raises(EngineFaultError, match="not a number in 1 place") as refused:
        runner.run({"images": spoiled})
    assert refused.value.code == "network_output_invalid"
    assert not refused.value.retryable


def test_infinity_is_a_number_here(runner):
    large = feed()
    large[0, 0, 0, 0], large[0, 0, 0, 1] = np.inf, -np.inf
    assert np.isinf(runner.run({"images": large})["output0"]).sum() == 2


def test_a_twin_runs_beside_and_closing_it_leaves_the_other_open(runner):
    twin = runner.twin()
    if twin is None:
        pytest.skip("this one takes one call at a time, or shares itself between threads")
    assert np.array_equal(twin.run({"images": feed()})["output0"], feed() + 1)
    twin.close()
    assert np.array_equal(runner.run({"images": feed()})["output0"], feed() + 1)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x08\x08"])
@pytest.mark.parametrize("kind", [OrtRunner, OpenVinoRunner])
def test_bytes_that_are_no_network_are_refused(content, kind):
    if kind is OpenVinoRunner:
        pytest.importorskip("openvino")
    with pytest.raises(EngineFaultError) as refused:
        kind(content, threads=1)
    assert refused.value.code == "weights_unreadable"


@pytest.mark.parametrize("kind", [OrtRunner, OpenVinoRunner])
def test_a_network_that_points_at_another_file_is_refused(tmp_path, tiny_onnx, kind):
    import onnx

    if kind is OpenVinoRunner:
        pytest.importorskip("openvino")
    model = onnx.load(tiny_onnx())
    model.graph.initializer[0].raw_data = b""
    onnx.external_data_helper.set_external_data(
        model.graph.initializer[0], "secret", offset=0, length=4
    )
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    (tmp_path / "secret").write_bytes(bytes(4))
    with pytest.raises(EngineFaultError):
        kind(model.SerializeToString(), threads=1)


def test_openvino_says_the_precision_that_was_compiled(tiny_onnx):
    pytest.importorskip("openvino")
    content = tiny_onnx().read_bytes()
    with OpenVinoRunner(content, threads=1, precision="f32") as runner:
        assert runner.precision == "fp32"
    with pytest.raises(EngineFaultError, match="f32, bf16, f16") as refused:
        OpenVinoRunner(content, threads=1, precision="int3")
    assert refused.value.code == "runner_unavailable"


def test_usable_cores_are_at_least_one():
    assert usable_cores() >= 1


def test_on_a_host_without_a_gpu_no_gpu_library_is_imported(tiny_onnx):
    program = f"""
import sys
from pathlib import Path
from engines.opening import NetworkSource, RunnerOpener
from engines.registry import open_registry
from engines.runners.host import Gpu
import engines.runners.cuda, engines.runners.ov, engines.runners.trt
opener = RunnerOpener()
if opener.host.gpus:
    sys.exit(3)
registry = open_registry(store=Path({str(tiny_onnx().parent / "store")!r}))
registry.engines()
with opener(NetworkSource(Path({str(tiny_onnx())!r})), threads=1) as runner:
    assert runner.provider == "CPUExecutionProvider"
names = ("pycuda", "tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt_rtx_libs",
         "openvino", "pynvml", "torch", "cuda", "cupy")
print([name for name in names if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ran.returncode == 3:
        pytest.skip("this host has a GPU")
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr
