"""The ways in which ``bench_gpu.py`` runs one network: PyTorch, ONNX Runtime, TensorRT."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_bench import BATCHES, SIDE, Bench, events_over_profiler, feed, off, timed

from engines.atomic import write_whole
from engines.errors import EngineError
from engines.halving.graph import halve
from engines.plans.build import check_target
from engines.plans.making import Wanted, make_plan
from engines.profiles import Profile
from engines.runners.base import Runner
from engines.runners.flavours import Flavour, FlavourName, RuntimeCache, load_flavour
from engines.runners.host import nvidia_gpus
from engines.runners.ort import onnx_facts
from engines.runners.ort_cuda import OrtCudaRunner
from engines.runners.trt import TrtRunner


def bench_torch(bench: Bench, path: Path) -> np.ndarray | None:
    """The baseline; returns its fp32 answer to the first feed."""
    try:
        import torch
    except ImportError as error:
        bench.failed(error, model=path.name, how="pytorch")
        return None
    torch.backends.cudnn.benchmark = True
    reference = None
    for precision in ("fp32", "tf32", "fp16"):
        tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        for batch in BATCHES:
            row = {"model": path.name, "how": "pytorch", "precision": precision, "batch": batch}
            try:
                run, answer = _torch_run(path, batch, half=precision == "fp16")
                figures = timed(bench, run, batch)
                first = answer()
                if reference is None:
                    reference = first
                bench.note(**row, **figures, off=off(first, reference))
            except Exception as error:  # noqa: BLE001 - told in the row
                bench.failed(error, **row)
    torch.cuda.empty_cache()
    return reference


def _torch_run(
    path: Path, batch: int, *, half: bool
) -> tuple[Callable[[], float], Callable[[], np.ndarray]]:
    import torch
    from onnx_in_torch import traced

    host = torch.from_numpy(feed(batch)).pin_memory()
    module = traced(str(path), host, half=half)
    dtype = torch.float16 if half else torch.float32
    answers: list[Any] = []

    def run() -> float:
        with torch.inference_mode():
            on_device = host.to("cuda", non_blocking=True)
            on_device = on_device.to(dtype, memory_format=torch.channels_last)
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            output = module(on_device)[0]
            end.record()
            answers[:] = [output.float().cpu()]
            return float(start.elapsed_time(end))

    def answer() -> np.ndarray:
        return np.asarray(answers[0].numpy())

    return run, answer


def bench_ort(bench: Bench, path: Path, reference: np.ndarray | None) -> None:
    """ONNX Runtime's CUDA provider: fp32, TF32, fp16, and fp16 with cuDNN's long search."""
    whole, half = path.read_bytes(), _halved(bench, path)
    for model, tf32, search in [
        (whole, False, "HEURISTIC"),
        (whole, True, "HEURISTIC"),
        (half, False, "HEURISTIC"),
        (half, False, "EXHAUSTIVE"),
    ]:
        if model is None:
            continue

        def open_it(model: bytes = model, search: str = search, tf32: bool = tf32) -> Runner:
            return OrtCudaRunner(model, device=bench.device, conv_search=search, tf32=tf32)

        name = f"onnxruntime-cuda {search.lower()}"
        _bench_runner(bench, name, path.name, open_it, reference)


def bench_trt(bench: Bench, path: Path, reference: np.ndarray | None) -> None:
    """Both flavours; RTX on a device outside its list is tried all the same, and told."""
    gpus = nvidia_gpus()
    for name in FlavourName:
        try:
            flavour = load_flavour(name)
        except EngineError as error:
            bench.failed(error, model=path.name, how=str(name))
            continue
        targets = [gpus[0].target]
        try:
            check_target(flavour, targets[0], gpus)
        except EngineError as error:
            bench.failed(error, model=path.name, how=f"{name} for {targets[0]}")
            targets = ["current", "sm80"]
        whole, half = path.read_bytes(), _halved(bench, path)
        for target in targets:
            for model, tf32 in [(whole, False), (whole, True), (half, False)]:
                if model is None:
                    continue

                def open_it(
                    model: bytes = model,
                    flavour: Flavour = flavour,
                    target: str = target,
                    tf32: bool = tf32,
                ) -> Runner:
                    return _open_plan(bench, model, flavour, target, tf32=tf32)

                _bench_runner(bench, f"{name} for {target}", path.name, open_it, reference)


def _bench_runner(
    bench: Bench,
    name: str,
    model: str,
    open_it: Callable[[], Runner],
    reference: np.ndarray | None,
) -> None:
    """One way to run one file, at every batch."""
    try:
        started = time.perf_counter()
        with open_it() as runner:
            opened_s = time.perf_counter() - started
            for batch in BATCHES:
                feeds = {runner.inputs[0].name: feed(batch)}
                first = runner.run(feeds)[runner.outputs[0].name].copy()

                def run(feeds: Any = feeds, runner: Runner = runner) -> float:
                    runner.run(feeds)
                    return runner.stages_ms["execute"]

                bench.note(
                    model=model,
                    how=name,
                    precision=runner.precision,
                    batch=batch,
                    **timed(bench, run, batch),
                    events_over_profiler=events_over_profiler(run),
                    off=off(first, reference),
                    opened_s=round(opened_s, 2),
                    device_mib=runner.device_bytes >> 20,
                )
    except Exception as error:  # noqa: BLE001 - told in the row
        bench.failed(error, model=model, how=name)


def _halved(bench: Bench, path: Path) -> bytes | None:
    try:
        return halve(path.read_bytes())
    except Exception as error:  # noqa: BLE001 - told in the row
        bench.failed(error, model=path.name, how="fp16 conversion")
        return None


def _open_plan(bench: Bench, model: bytes, flavour: Flavour, target: str, *, tf32: bool) -> Runner:
    profile = Profile("images", (1, 3, SIDE, SIDE), (8, 3, SIDE, SIDE), (32, 3, SIDE, SIDE))
    sha256 = hashlib.sha256(model).hexdigest()
    wanted = Wanted(model, onnx_facts(model), sha256, (profile,), tf32)
    made = make_plan(wanted, flavour=flavour, target=target, cache=bench.plans)
    return TrtRunner(
        made.plan.read(),
        flavour=flavour,
        device=bench.device,
        metadata=made.plan.metadata,
        precision=made.plan.precision,
        key=made.plan.key,
        cache=RuntimeCache(made.plan.kernels(bench.device.cuda.device), write=write_whole),
    )
