"""Images per second, gpu_ms and the busy share of one NVIDIA device: ``make bench-gpu``.

    python tests/bench/bench_gpu.py MODEL.onnx [...] [--seconds 1.0] [--drain 2000] [--json FILE]

MODEL is a YOLO export with free batch; random weights are as fast as trained ones.
For batches of 1, 8 and 32 pictures of 640 x 640 the table says, of each way to run the same file,

* ``whole``  images per second from host arrays to host arrays, as an engine sees it,
* ``device`` images per second of the network alone, by CUDA events,

for PyTorch (the same graph and weights executed by torch's own operators, traced and frozen by
torch.jit, channels-last, cuDNN's autotuner on: see ``onnx_in_torch.py``), for ONNX Runtime's CUDA
provider and for TensorRT, in fp32 without TF32, in TF32 and in fp16. Ratios are against PyTorch at
the same precision. A part that cannot run says why in its row, and the rest goes on.

``--drain N`` sends N JPEG pictures from disk through the whole ``detect`` engine and tells the
share of the wall time in which the device computed: by our events, and as NVML saw it.
"""

import argparse
import contextlib
import json
import platform
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "bench")]

from gpu_bench import Bench  # noqa: E402 - the tree must be importable first
from gpu_ways import bench_ort, bench_torch, bench_trt  # noqa: E402

from engines.plans.cache import PlanCache  # noqa: E402
from engines.runners.cuda import open_cuda  # noqa: E402
from engines.runners.host import nvidia_gpus  # noqa: E402

PACKAGES = ("torch", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13-libs", "pycuda", "numpy")
PARTS = ("torch", "ort", "trt", "drain")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0, help="per figure")
    parser.add_argument("--drain", type=int, default=2000, help="pictures")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    parser.add_argument("--json", type=Path, help="write every row here, after each part")
    options = parser.parse_args()
    gpus = nvidia_gpus()
    if not gpus:
        print("no NVIDIA device here; nothing was measured")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as name:
        bench = Bench(open_cuda(0), options.seconds, PlanCache(Path(name) / "plans"))
        bench.note(how="host", device=gpus[0].name, target=gpus[0].target, **_versions())
        for path in options.models:
            measure(bench, path, options, Path(name))
    summary(bench.rows)
    return 0


def measure(bench: Bench, path: Path, options: argparse.Namespace, folder: Path) -> None:
    """Every part that was asked for, on one model."""
    reference = None
    for part in options.only.split(","):
        began = time.perf_counter()
        try:
            if part == "torch":
                reference = bench_torch(bench, path)
            elif part == "ort":
                bench_ort(bench, path, reference)
            elif part == "trt":
                bench_trt(bench, path, reference)
            else:
                from gpu_drain import drain  # needs what the engines need

                drain(bench, path, options.drain, folder)
        except Exception as error:  # noqa: BLE001 - told in its row, and the rest goes on
            bench.failed(error, model=path.name, how=part)
        print(f"-- {path.name} {part}: {time.perf_counter() - began:.1f} s", flush=True)
        if options.json:
            options.json.write_text(json.dumps(bench.rows, indent=1))


def summary(rows: list[dict[str, Any]]) -> None:
    """The table, with ratios against PyTorch of the same model, precision and batch."""
    measured = [row for row in rows if "whole" in row]
    base = {_place(row): row for row in measured if row["how"] == "pytorch"}
    titles = ("model", "how", "precision", "batch", "whole/s", "x", "device/s", "x")
    form = "{:22.21}{:32.31}{:10}{:>6}{:>10}{:>7}{:>10}{:>7}"
    print(form.format(*titles))
    for row in measured:
        against = base.get(_place(row))
        ratio = {
            key: f"{row[key] / against[key]:.2f}" if against else "" for key in ("whole", "device")
        }
        print(
            form.format(
                row["model"], row["how"], row["precision"], row["batch"],
                row["whole"], ratio["whole"], row["device"], ratio["device"],
            )
        )  # fmt: skip
    for row in rows:
        if "whole" not in row:
            print(json.dumps(row))


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["model"], row["precision"], row["batch"]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
