"""The busy share of a device while pictures drain through the whole ``detect`` engine."""

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gpu_bench import Bench, feed

from engines.choice import Policy, RunnerName
from engines.halving.graph import halve
from engines.many import run_items
from engines.media.probe import probe
from engines.opening import RunnerOpener
from engines.registry import Registry, open_registry
from engines.sessions import Sessions
from engines.spec import InputFiles, RunItem

BUSY_EVERY_S = 0.05
WARM_UP = 64
MODEL = "yolov8s"  # the declared model that the file is registered for


def drain(
    bench: Bench, path: Path, count: int, folder: Path, runner: RunnerName = RunnerName.ORT_CUDA
) -> None:
    """Pictures from disk to predictions, as a worker does it: fp32, then fp16."""
    for half in (False, True):
        weights = path
        if half:
            weights = folder / f"half-{path.name}"
            weights.write_bytes(halve(path.read_bytes()))
        opener = RunnerOpener(
            Policy(runner=runner), plans=bench.plans, open_device=lambda _: bench.device
        )
        sessions = Sessions(open_runner=opener)
        store = folder / f"store-{half}-{path.stem}"
        registry = open_registry(store=store, sessions=sessions)
        registry.add(MODEL, weights, licence="bench")
        bench.note(
            model=path.name,
            how=f"drain through the engine, {runner}",
            **_drained(registry, count, folder),
        )
        sessions.close()


def _drained(registry: Registry, count: int, folder: Path) -> dict[str, object]:
    engine = registry.engine("detect")
    for outcome in run_items(engine, _items(registry, WARM_UP, folder)):  # loads the network
        if isinstance(outcome, Exception):
            raise outcome
    busy = BusyShare()
    started = time.perf_counter()
    outcomes = list(run_items(engine, _items(registry, count, folder)))
    wall_s = time.perf_counter() - started
    by_nvml = busy.end()
    good = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    gpu_s = sum(outcome.usage.gpu_ms for outcome in good) / 1000
    usage = good[-1].usage
    return {
        "precision": usage.precision,
        "provider": usage.provider,
        "device": usage.device,
        "pictures": count,
        "failed_pictures": count - len(good),
        "images_per_s": round(count / wall_s, 1),
        "busy_by_events": round(gpu_s / wall_s, 4),
        "busy_by_nvml": by_nvml,
        "gpu_ms_per_picture": round(gpu_s * 1000 / count, 4),
        "peak_memory_mib": usage.peak_memory_bytes >> 20,
    }


def _items(registry: Registry, count: int, folder: Path) -> Iterator[RunItem]:
    model, engine = registry.resolve("detect", MODEL), registry.engine("detect")
    params = engine.params_model.model_validate({})
    files = [InputFiles(each, probe(each, registry.limits)) for each in _pictures(folder)]
    for place in range(count):
        yield RunItem(model, params, files[place % len(files)], Nobody(folder))


class BusyShare:
    """Samples the device's utilisation, as NVML counts it, until told to stop."""

    def __init__(self) -> None:
        self._samples: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception as error:  # noqa: BLE001 - without NVML there is no such share
            print(f"no share by NVML: {error}")
            return
        while not self._ended.wait(BUSY_EVERY_S):
            self._samples.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    def end(self) -> float | None:
        """The mean of the samples; None without any."""
        self._ended.set()
        self._thread.join()
        return round(statistics.mean(self._samples) / 100, 3) if self._samples else None


class Nobody:
    """A run context that never cancels."""

    def __init__(self, folder: Path) -> None:
        self.work_dir = folder

    def progress(self, done: int, total: int, unit: str) -> None:
        """Ignore it."""

    def checkpoint(self) -> None:
        """Go on."""


def _pictures(folder: Path) -> list[Path]:
    """Photographs of scikit-image where it is installed, else painted ones; 810 x 1080 JPEG."""
    import cv2

    sources = []
    with contextlib.suppress(ImportError):
        import skimage.data

        sources = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()]
    if not sources:
        sources = [(feed(n)[0].transpose(1, 2, 0) * 255).astype(np.uint8) for n in range(1, 4)]
    paths = []
    for place, picture in enumerate(sources):
        path = folder / f"picture{place}.jpg"
        cv2.imwrite(str(path), cv2.resize(np.ascontiguousarray(picture[..., ::-1]), (810, 1080)))
        paths.append(path)
    return paths
