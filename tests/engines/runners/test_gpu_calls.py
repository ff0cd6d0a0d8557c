"""What the GPU runners ask of CUDA, TensorRT and ONNX Runtime: order, addresses, shapes, errors."""

import sys
from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineFaultError, ExhaustedError
from engines.runners import ort_cuda
from engines.runners.base import TensorSpec
from engines.runners.cuda import open_cuda
from engines.runners.flavours import Flavour, FlavourName, RuntimeCache
from engines.runners.host import nvidia_gpus
from engines.runners.trt import TrtRunner

sys.path.insert(0, str(Path(__file__).parent))

from recording import HostSession, Network, RecordedTrt, recorded_device

FLOAT = np.dtype(np.float32)
ONE = 3 * 8 * 8 * 4  # bytes of one picture here
RUN = ["mark", "upload", "mark", "execute", "mark", "download", "mark", "wait"]


def halves(feeds):
    """A network of two outputs that both depend on the input's shape."""
    return {"low": feeds["images"] / 2, "sum": feeds["images"].sum(axis=(1, 2, 3))}


NETWORK = Network(
    inputs=(TensorSpec("images", (None, 3, None, None), FLOAT),),
    outputs=(
        TensorSpec("low", (None, 3, None, None), FLOAT),
        TensorSpec("sum", (None,), FLOAT),
    ),
    limits={"images": ((1, 3, 4, 4), (2, 3, 8, 8), (4, 3, 8, 8))},
    shapes=lambda shapes: {"low": shapes["images"], "sum": shapes["images"][:1]},
    compute=halves,
)


class Bench:
    """A recorded device with a TensorRT on it."""

    def __init__(self, name=FlavourName.TENSORRT, **options):
        self.device, self.cuda = recorded_device(**options)
        self.trt = RecordedTrt(NETWORK, self.cuda)
        self.flavour = Flavour(name, self.trt, "11.4.0")

    def open(self, cache=None):
        return TrtRunner(
            b"plan",
            flavour=self.flavour,
            device=self.device,
            metadata={},
            precision="fp32",
            key="sm89-0123",
            cache=cache,
        )


@pytest.fixture
def bench():
    return Bench()


def pictures(n=2, side=8):
    return np.arange(n * 3 * side * side, dtype=np.float32).reshape(n, 3, side, side)


def test_memory_is_allocated_once_for_the_largest_shapes_and_told_once(bench):
    with bench.open() as runner:
        before = list(bench.cuda.calls)
        for n in (1, 4, 2, 4):
            runner.run({"images": pictures(n)})
    allocated = [call[1:] for call in before if call[0] == "allocate"]
    assert [length for length, _ in allocated] == [4 * ONE, 4 * ONE, 4 * 4]
    told = [call for call in bench.cuda.calls if call[0] == "set_tensor_address"]
    assert [name for _, name, _ in told] == ["images", "low", "sum"]
    assert [address for _, _, address in told] == [address for _, address in allocated]
    assert bench.cuda.names().count("allocate") == 3


def test_a_run_is_upload_execute_download_between_four_events_and_one_wait(bench):
    with bench.open() as runner:
        bench.cuda.calls.clear()
        outputs = runner.run({"images": pictures()})
        names = bench.cuda.names()
    assert names == ["set_input_shape", *RUN[:-2], "download", *RUN[-2:]]
    assert ("execute", 4711) in bench.cuda.calls
    assert np.array_equal(outputs["low"], pictures() / 2)
    assert np.array_equal(outputs["sum"], pictures().sum(axis=(1, 2, 3)))
    assert runner.stages_ms == {"upload": 1.0, "execute": 5.0, "download": 2.0}
    assert runner.elapsed_ms == 8.0


def test_a_shape_is_set_only_where_it_changed(bench):
    with bench.open() as runner:
        bench.cuda.calls.clear()
        for n in (4, 4, 2, 2, 4):  # opening left it at the largest
            runner.run({"images": pictures(n)})
    shapes = [call[2] for call in bench.cuda.calls if call[0] == "set_input_shape"]
    assert shapes == [(2, 3, 8, 8), (4, 3, 8, 8)]


def test_host_memory_is_locked_once_per_size_and_used_again(bench):
    with bench.open() as runner:
        for _ in range(20):
            runner.run({"images": pictures()})
        assert bench.cuda.locked == 3
        held = [runner.run({"images": pictures()})["low"] for _ in range(3)]
        assert bench.cuda.locked > 3  # what callers hold is not written over
        assert all(np.array_equal(each, pictures() / 2) for each in held)


def test_closing_frees_every_block_inside_a_turn(bench):
    runner = bench.open()
    assert bench.cuda.memory_used() == runner.device_bytes
    runner.close()
    assert bench.cuda.memory_used() == 0
    assert bench.cuda.active == 0


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ("deserialize", "does not load: built for another device"),
        ("context", "no execution context"),
        ("set_input_shape", "was refused"),
        ("infer_shapes", "does not say the shape of output"),
        ("sized_by_data", "depends on the data"),
        ("set_tensor_address", "the address of images was refused"),
    ],
)
def test_what_tensorrt_refuses_while_opening_is_told_and_leaves_no_memory(bench, refusal, said):
    bench.trt.refuse.add(refusal)
    with pytest.raises(EngineFaultError, match=said) as refused:
        bench.open()
    assert refused.value.code == "plan_unusable"
    assert bench.cuda.memory_used() == 0
    assert bench.cuda.active == 0


def test_a_run_that_does_not_start_is_an_error_and_the_next_one_runs(bench):
    with bench.open() as runner:
        bench.trt.refuse.add("execute")
        with pytest.raises(EngineFaultError, match="did not start"):
            runner.run({"images": pictures()})
        bench.trt.refuse.clear()
        assert np.array_equal(runner.run({"images": pictures()})["low"], pictures() / 2)


@pytest.mark.parametrize("n_side", [(5, 8), (1, 12), (1, 2)])
def test_shapes_outside_the_plan_are_refused_with_its_limits(bench, n_side):
    with (
        bench.open() as runner,
        pytest.raises(EngineFaultError, match=r"\(1, 3, 4, 4\) to \(4, 3, 8, 8\)") as refused,
    ):
        runner.run({"images": pictures(*n_side)})
    assert refused.value.code == "shape_outside_plan"


def test_too_little_device_memory_is_exhaustion_and_leaves_none_taken():
    bench = Bench(capacity=5 * ONE)
    with pytest.raises(ExhaustedError, match="too little memory"):
        bench.open()
    assert bench.cuda.memory_used() == 0


def test_the_rtx_flavour_keeps_its_kernels_on_disk(tmp_path):
    path = tmp_path / "plan.kernels"

    def write(path, content):
        path.write_bytes(content)

    for expected in ([], [b"kernels of one run"]):
        bench = Bench(FlavourName.TENSORRT_RTX)
        with bench.open(RuntimeCache(path, write=write)) as runner:
            runner.run({"images": pictures()})
        assert bench.trt.kernels == expected
        assert path.read_bytes() == b"kernels of one run"


def test_kernels_of_another_device_are_ignored_and_made_anew(tmp_path):
    path = tmp_path / "plan.kernels"
    path.write_bytes(b"somebody else's")
    bench = Bench(FlavourName.TENSORRT_RTX)
    with bench.open(RuntimeCache(path, write=lambda path, content: path.write_bytes(content))):
        pass
    assert path.read_bytes() == b"kernels of one run"


def test_the_other_flavour_has_no_kernels_to_keep(tmp_path, bench):
    path = tmp_path / "plan.kernels"
    with bench.open(RuntimeCache(path, write=lambda path, content: path.write_bytes(content))):
        pass
    assert not path.exists()


@pytest.fixture
def cuda_built(monkeypatch):
    """As if the ONNX Runtime with CUDA were installed."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [ort_cuda.PROVIDER])


@pytest.fixture
def open_cuda_session(cuda_built, monkeypatch, tiny_onnx):
    """ONNX Runtime's CUDA runner over a session that really runs on the CPU."""
    device, cuda = recorded_device()
    real, made = ort_cuda.open_session, []

    def open_session(model, *, providers, threads):
        session = real(model, providers=["CPUExecutionProvider"], threads=threads)
        made.append((HostSession(session, cuda), providers))
        return made[-1][0]

    monkeypatch.setattr(ort_cuda, "open_session", open_session)

    def open_it(**options):
        content = tiny_onnx(shape=("n", 3, "h", "w")).read_bytes()
        return ort_cuda.OrtCudaRunner(content, device=device, **options), cuda, made[-1]

    return open_it


def test_the_cuda_provider_gets_our_stream_and_the_search_that_was_asked_for(open_cuda_session):
    runner, _, (_, providers) = open_cuda_session(conv_search="EXHAUSTIVE")
    name, options = providers[0]
    assert name == "CUDAExecutionProvider"
    assert options == {
        "device_id": "0",
        "user_compute_stream": "4711",
        "do_copy_in_default_stream": "1",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    }
    runner.close()


def test_tf32_is_asked_for_and_then_told(open_cuda_session):
    runner, _, (_, providers) = open_cuda_session(tf32=True)
    assert (providers[0][1]["use_tf32"], runner.precision) == ("1", "tf32")
    runner.close()


def test_inputs_are_bound_to_memory_that_grows_and_is_otherwise_kept(open_cuda_session):
    runner, cuda, _ = open_cuda_session()
    for n in (2, 1, 2, 3):
        runner.run({"images": pictures(n)})
    addresses = [call[2] for call in cuda.calls if call[0] == "bind_input"]
    assert addresses[0] == addresses[1] == addresses[2]
    assert [call[1] for call in cuda.calls if call[0] == "allocate"] == [2 * ONE, 3 * ONE]
    assert [call for call in cuda.calls if call[0] == "free"] == [("free", addresses[0])]
    last = cuda.names()[-len(RUN) :]
    assert last == RUN
    assert runner.stages_ms == {"upload": 1.0, "execute": 5.0, "download": 1.0}
    runner.close()
    assert cuda.memory_used() == 0


def test_the_arena_shrinks_after_a_run_much_larger_than_the_recent_ones(open_cuda_session):
    runner, _, (session, _) = open_cuda_session()
    for side in (8, 8, 8, 64, 8, 64):
        runner.run({"images": pictures(1, side)})
    kept, shrunk = session.options[0], session.options[3]
    assert kept is not shrunk
    assert session.options == [kept, kept, kept, shrunk, kept, shrunk]
    assert shrunk.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "gpu:0"
    runner.close()


def test_a_session_that_fell_back_to_the_cpu_is_refused(cuda_built, monkeypatch, tiny_onnx):
    device, cuda = recorded_device()
    real = ort_cuda.open_session

    def open_session(model, *, providers, threads):
        return real(model, providers=["CPUExecutionProvider"], threads=threads)

    monkeypatch.setattr(ort_cuda, "open_session", open_session)
    with pytest.raises(EngineFaultError, match="instead of CUDAExecutionProvider") as refused:
        ort_cuda.OrtCudaRunner(tiny_onnx().read_bytes(), device=device)
    assert refused.value.code == "runner_unavailable"
    assert cuda.active == 0


def test_an_onnx_runtime_without_cuda_says_which_one_to_install(monkeypatch, tiny_onnx):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    device, _ = recorded_device()
    with pytest.raises(EngineFaultError, match="onnxruntime-gpu") as refused:
        ort_cuda.OrtCudaRunner(tiny_onnx().read_bytes(), device=device)
    assert refused.value.code == "runner_unavailable"


def test_without_a_gpu_opening_one_says_what_to_install():
    if nvidia_gpus():
        pytest.skip("this host has a GPU")
    with pytest.raises(EngineFaultError, match="extra gpu") as refused:
        open_cuda(0)
    assert refused.value.code == "runner_unavailable"
