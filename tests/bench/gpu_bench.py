"""What the parts of ``bench_gpu.py`` share: rows of figures, feeds, timing."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines.plans.cache import PlanCache
from engines.runners.cuda import Device

BATCHES = (1, 8, 32)
SIDE = 640
RUNS_MIN = 10


@dataclass
class Bench:
    """What all parts share."""

    device: Device
    seconds: float
    plans: PlanCache
    rows: list[dict[str, Any]] = field(default_factory=list)

    def note(self, **row: Any) -> None:
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def failed(self, error: Exception, **row: Any) -> None:
        """A part that cannot run says so in its row."""
        text = str(getattr(error, "detail", error)).partition("\n")[0]
        self.note(**row, failed=f"{type(error).__name__}: {text}"[:400])


def feed(batch: int) -> np.ndarray:
    """Pictures-like numbers in 0..1, the same every time."""
    import cv2

    rng = np.random.default_rng(batch)
    planes = [
        cv2.resize(rng.random((12, 12)).astype(np.float32), (SIDE, SIDE)) for _ in range(3 * batch)
    ]
    return np.ascontiguousarray(np.stack(planes).reshape(batch, 3, SIDE, SIDE))


def timed(bench: Bench, run: Callable[[], float], batch: int) -> dict[str, Any]:
    """Run for a while; ``run`` gives the network's own milliseconds of one call."""
    for _ in range(RUNS_MIN):
        run()
    device_ms, wall_ms = [], []
    until = time.perf_counter() + bench.seconds
    while len(wall_ms) < RUNS_MIN or time.perf_counter() < until:
        started = time.perf_counter()
        device_ms.append(run())
        wall_ms.append((time.perf_counter() - started) * 1000)
    return {
        "whole": round(batch * 1000 / statistics.median(wall_ms), 1),
        "device": round(batch * 1000 / statistics.median(device_ms), 1),
        "device_ms": round(statistics.median(device_ms), 3),
        "runs": len(wall_ms),
    }


def events_over_profiler(run: Callable[[], float], runs: int = 10) -> float | None:
    """Our events' sum over the profiler's sum of kernels; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    torch.zeros(1, device="cuda")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        events_ms = sum(run() for _ in range(runs))
    copies = ("memcpy htod", "memcpy dtoh")
    kernels_us = sum(
        each.self_device_time_total
        for each in profile.key_averages()
        if not each.key.lower().startswith(copies)
    )
    return round(events_ms * 1000 / kernels_us, 4) if kernels_us else None


def off(answer: np.ndarray | None, reference: np.ndarray | None) -> float | None:
    """Relative RMS of the difference to PyTorch in fp32."""
    if answer is None or reference is None or answer.shape != reference.shape:
        return None
    return float(f"{np.linalg.norm(answer - reference) / np.linalg.norm(reference):.2e}")
