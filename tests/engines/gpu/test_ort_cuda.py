"""ONNX Runtime on a real device: results, times, memory, threads, half precision."""

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gpu_networks import CASES

pytestmark = pytest.mark.gpu
MIB = 2**20


@pytest.fixture(scope="module")
def ort_cuda(device):
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip(f"this onnxruntime {ort.__version__} has no CUDA (extra gpu)")
    from engines.runners.ort_cuda import OrtCudaRunner

    def open_it(model: bytes, **options):
        return OrtCudaRunner(model, device=device, **options)

    return open_it


def on_cpu(model: bytes, feeds):
    from engines.runners.ort import OrtRunner

    with OrtRunner(model, threads=8) as runner:
        return runner.run(feeds)


def share_off(ours, reference):
    # Of chances that are all near nothing, a share of the largest would say nothing.
    return float(np.abs(ours - reference).max() / max(np.abs(reference).max(), 0.1))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_the_cuda_provider_gives_what_the_cpu_gives(ort_cuda, mirror, picture, case):
    model = (mirror / case.file).read_bytes()
    with ort_cuda(model) as runner:
        name = runner.inputs[0].name
        assert (runner.provider, runner.precision) == ("CUDAExecutionProvider", "fp32")
        for shape in case.shapes:
            feeds = {name: picture(shape, case.values)}
            ours, reference = runner.run(feeds), on_cpu(model, feeds)
            for output, array in reference.items():
                off = share_off(ours[output], array)
                print(f"{case.file} {shape} {output}: {off:.2e} of the largest value")
                assert ours[output].shape == array.shape
                assert off < case.tolerance


def test_event_times_are_parts_of_the_wall_clock_and_waiting_is_in_none(ort_cuda, mirror, picture):
    with ort_cuda((mirror / "yolov8n_recon_dyn.onnx").read_bytes()) as runner:
        feeds = {"images": picture((8, 3, 640, 640))}
        for _ in range(5):
            runner.run(feeds)
        alone = min(_timed(runner, feeds) for _ in range(10))
        with ThreadPoolExecutor(4) as pool:
            crowd = list(pool.map(lambda _: _timed(runner, feeds), range(40)))
        print(f"alone {alone}; in a crowd {sorted(crowd)[len(crowd) // 2]}")
        assert 0 < alone[0] <= alone[1]
        # Four callers wait three quarters of their wall time for a turn; nobody pays for that.
        assert sorted(crowd)[len(crowd) // 2][0] < 1.5 * alone[0]
        assert max(wall for _, wall in crowd) > 2 * alone[1]


def _timed(runner, feeds):
    started = perf_counter()
    runner.run(feeds)
    wall_ms = (perf_counter() - started) * 1000
    assert set(runner.stages_ms) == {"upload", "execute", "download"}
    return runner.elapsed_ms, wall_ms


def test_threads_get_their_own_results_from_two_networks_at_once(ort_cuda, mirror, picture):
    detect = (mirror / "yolov8n_recon_dyn.onnx").read_bytes()
    faces = (mirror / "face_detection_yunet_2023mar.onnx").read_bytes()
    with ort_cuda(detect) as one, ort_cuda(faces) as two:
        jobs = [
            (one, {"images": picture((1 + n % 4, 3, 640, 640)) * (n + 1) / 9}) for n in range(8)
        ]
        jobs += [
            (two, {"input": picture((1, 3, 640, 640), (0, 255)) * (n + 1) / 9}) for n in range(8)
        ]
        alone = [runner.run(feeds) for runner, feeds in jobs]
        with ThreadPoolExecutor(8) as pool:
            crowd = list(pool.map(lambda job: job[0].run(job[1]), jobs * 4))
        for place, outputs in enumerate(crowd):
            for name, array in alone[place % len(jobs)].items():
                assert share_off(outputs[name], array) < 1e-4


def test_closing_gives_the_memory_back(ort_cuda, device, mirror, picture):
    model = (mirror / "yolov8n_recon_dyn.onnx").read_bytes()

    def once():
        with ort_cuda(model) as runner:
            runner.run({"images": picture((8, 3, 640, 640))})
            held = _used(device)
        gc.collect()
        return held

    once()  # the context, cuDNN and cuBLAS stay for good
    free = _used(device)
    peaks = [once() for _ in range(4)]
    after = _used(device)
    print(f"before {free / MIB:.0f} MiB, held {max(peaks) / MIB:.0f}, after {after / MIB:.0f}")
    assert max(peaks) - free > 50 * MIB
    assert after - free < 32 * MIB


def test_two_thousand_runs_of_changing_shapes_grow_nothing(ort_cuda, device, mirror, picture):
    with ort_cuda((mirror / "tiny_colorizer.onnx").read_bytes()) as runner:
        feeds = [{"gray": picture((1, 1, side, side))} for side in (128, 256, 384, 512)]
        for number in range(200):
            runner.run(feeds[number % 4])
        before = _used(device)
        for number in range(2000):
            runner.run(feeds[number % 4])
        assert _used(device) - before < 16 * MIB


def _used(device):
    with device.turn() as cuda:
        return cuda.memory_used()


def test_the_fp16_variant_is_near_and_says_so(ort_cuda, mirror, picture):
    pytest.importorskip("onnx")
    from engines.halving.graph import halve

    for file, shape in [
        ("yolov8n_recon_dyn.onnx", (4, 3, 640, 640)),
        ("tiny_colorizer.onnx", (1, 1, 384, 384)),
    ]:
        model = (mirror / file).read_bytes()
        with ort_cuda(halve(model)) as half, ort_cuda(model) as whole:
            feeds = {half.inputs[0].name: picture(shape)}
            assert half.precision == "fp16"
            assert half.inputs[0].dtype == np.float32
            reference = whole.run(feeds)
            for name, array in half.run(feeds).items():
                off = np.linalg.norm(array - reference[name]) / np.linalg.norm(reference[name])
                print(f"{file} {name}: fp16 differs by {off:.2e} (relative RMS)")
                assert off < 0.02


def test_events_agree_with_the_profilers_sum_of_kernels(ort_cuda, mirror, picture):
    torch = pytest.importorskip("torch", reason="its profiler counts the kernels")
    with ort_cuda((mirror / "yolov8n_recon_dyn.onnx").read_bytes()) as runner:
        feeds = {"images": picture((32, 3, 640, 640))}
        for _ in range(5):
            runner.run(feeds)
        activities = [torch.profiler.ProfilerActivity.CUDA]
        by_events = 0.0
        torch.zeros(1, device="cuda")
        with torch.profiler.profile(activities=activities) as profile:
            for _ in range(10):
                runner.run(feeds)
                by_events += runner.stages_ms["execute"]
        kernels = sum(
            each.self_device_time_total
            for each in profile.key_averages()
            if "memcpy" not in each.key.lower() or "dtod" in each.key.lower()
        )
        by_profiler = kernels / 1000
        print(
            f"events {by_events:.2f} ms, kernels {by_profiler:.2f}, {by_events / by_profiler:.4f}"
        )
        assert by_events == pytest.approx(by_profiler, rel=0.03)


def test_nothing_on_this_host_is_taken_for_the_gpu_that_is_the_cpu(ort_cuda, mirror):
    from engines.opening import NetworkSource, RunnerOpener

    opener = RunnerOpener()
    with opener(NetworkSource(mirror / "tiny_colorizer.onnx"), threads=1) as runner:
        assert runner.provider == "CUDAExecutionProvider"
        assert runner.facts.device.startswith("cuda:0 ")
