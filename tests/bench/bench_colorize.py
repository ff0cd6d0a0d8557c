"""Peak memory of colouring 1, 20 and 80 megapixels; pictures per second against the bare network.

Memory: each size in a fresh child, which reports the peak of its resident memory; half of it lies
in the libraries alone, so the peak of a run over one small picture is said beside it. Speed: many
pictures through ``run_many`` (decode, look, network, join, write) in turn with bare ``session.run``
calls on as many inputs of the same size in the same process. The network is the mirror's tiny
colouriser at 512, or a file of DDColor's form given by ``--network``. One JSON line and one line to
read come out.

    python tests/bench/bench_colorize.py [--pictures 24] [--rounds 3] [--network FILE] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engines.colorize.engine import create  # noqa: E402 - the tree must be importable first
from engines.colorize.params import ColorizeParams  # noqa: E402
from engines.media.limits import MediaLimits  # noqa: E402
from engines.registry import Registry, Services, open_registry  # noqa: E402
from engines.spec import InputFiles, MediaInfo, MediaKind, RunItem  # noqa: E402

SIZES = {1: (1250, 800), 20: (5000, 4000), 80: (10_000, 8000)}  # megapixels: width, height
SIDE = 512
AIM = 0.9
PEAK_AIM_MIB = 1024


@dataclass(frozen=True, slots=True)
class Nobody:
    """A run context that never cancels."""

    work_dir: Path

    def progress(self, done: int, total: int, unit: str) -> None:
        """Ignore it."""

    def checkpoint(self) -> None:
        """Go on."""


def opened(folder: Path, network: Path | None) -> tuple[Registry, str]:
    """The engines with the network to measure, and its name."""
    mirror = os.environ.get("PIXELMETER_MODEL_MIRROR")
    limits = MediaLimits(max_scan_pixels=100_000_000)
    registry = open_registry(store=folder, mirror=mirror, limits=limits)
    if network is None:
        return registry, "tiny"
    registry.add("ddcolor-tiny", network, licence="bench")
    return registry, "ddcolor-tiny"


def item(registry: Registry, model: str, path: Path, work: Path) -> RunItem:
    """A run of one picture file."""
    with Image.open(path) as picture:
        width, height = picture.size
    info = MediaInfo(MediaKind.IMAGE, "image/jpeg", path.stat().st_size, width, height)
    params = ColorizeParams(type="building", input_size=SIDE)
    work.mkdir()
    return RunItem(
        registry.resolve("colorize", model), params, InputFiles(path, info), Nobody(work)
    )


def peak_mib(folder: Path, megapixels: int, network: Path | None) -> float:
    """Peak resident memory of a fresh process that colours one grey scan, 16 bits."""
    width, height = SIZES[megapixels]
    path = folder / f"{megapixels}.tif"
    ramp = np.linspace(2000, 60_000, width, dtype=np.uint16)
    Image.fromarray(np.broadcast_to(ramp, (height, width)).copy()).save(path)
    command = [sys.executable, __file__, "--child", str(path)]
    command += ["--network", str(network)] if network else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def child(path: Path, network: Path | None) -> None:
    """Colour one file and print the peak in MiB."""
    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryDirectory() as name:
        registry, model = opened(Path(name) / "store", network)
        services = Services(registry, registry.sessions, registry.limits)
        one = item(registry, model, path, Path(name) / "work")
        create(services).run(one.model, one.params, one.files, one.context)
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


def speeds(folder: Path, count: int, rounds: int, network: Path | None) -> tuple[float, float]:
    """Pictures per second through the engine and bare runs per second, medians."""
    registry, model = opened(folder / "store", network)
    engine = create(Services(registry, registry.sessions, registry.limits))
    photo = Image.fromarray(skimage.data.astronaut()).convert("L").resize((800, 600))
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        photo.save(path, quality=92)
    runner = registry.sessions.runner(
        registry.weights_path(registry.resolve("colorize", model))
    ).value
    spec = runner.inputs[0]
    feed = {spec.name: np.random.default_rng(1).random((1, spec.shape[1], SIDE, SIDE), np.float32)}
    ours, bare = [], []
    for number in range(rounds + 1):  # the first one warms up
        items = [item(registry, model, path, folder / f"w{number}-{path.stem}") for path in paths]
        began = time.perf_counter()
        for outcome in engine.run_many(items):
            if isinstance(outcome, Exception):
                raise outcome
        ours.append(count / (time.perf_counter() - began))
        began = time.perf_counter()
        for _ in paths:
            runner.run(feed)
        bare.append(count / (time.perf_counter() - began))
    return statistics.median(ours[1:]), statistics.median(bare[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.network)
        return
    with tempfile.TemporaryDirectory() as name:
        peaks = {each: peak_mib(Path(name), each, asked.network) for each in SIZES}
        ours, bare = speeds(Path(name), asked.pictures, asked.rounds, asked.network)
    found = {
        "peak_mib": {str(each): round(peak) for each, peak in peaks.items()},
        "pictures_per_s": round(ours, 3),
        "bare_runs_per_s": round(bare, 3),
        "ratio": round(ours / bare, 3),
        "aim": AIM,
        "peak_aim_mib": PEAK_AIM_MIB,
    }
    print(json.dumps(found))
    told = ", ".join(f"{each} Mpx {peak:.0f} MiB" for each, peak in peaks.items())
    print(f"colorize: peak {told}; {ours / bare:.2f} of the bare network's speed (aim {AIM})")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
