"""Pictures per second of detection, from JPEG files on disk to predictions.

    PIXELMETER_MODEL_MIRROR=DIR PIXELMETER_TEST_MEDIA=DIR \\
        python tests/bench/bench_detect.py [--images 60] [--rounds 3] [--json FILE]

One network (yolov8n, 640 x 640, fp32) on two threads for everybody, rounds interleaved, medians:

* bare: `session.run` in a loop on tensors that are ready: nothing is read, prepared or answered;
* engine, one by one: `run`, what a single job gets, on a network of two threads;
* engine, many: `run_many`, decoding beside two lanes of one thread (`engines/overlap.py`);
* peer: ultralytics' predict with the same ONNX file, one picture per call as its users call it
  (only where `make bench-peers` was run);
* the last two on OpenVINO, in the precision that the peer's run says it had.

Detections are counted, so that a fast wrong row shows. Aims: many >= 0.95 x bare, >= 1.15 x peer,
on OpenVINO >= 1.1 x peer.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "peers")]

from peer import Peer, is_installed  # noqa: E402

from engines.choice import Policy, RunnerName  # noqa: E402
from engines.media.glance import glance  # noqa: E402
from engines.opening import RunnerOpener  # noqa: E402
from engines.registry import open_registry  # noqa: E402
from engines.sessions import Sessions  # noqa: E402
from engines.spec import EngineResult, InputFiles, RunItem  # noqa: E402

THREADS = 2
MODEL, WEIGHTS = "yolov8n", "yolov8n_recon_dyn.onnx"
BARE, ALONE, MANY, PEER = "bare session.run", "engine, one by one", "engine, many", "peer predict"
OV_MANY, OV_PEER = "OpenVINO, many", "peer on OpenVINO"
AIMS = {(MANY, BARE): 0.95, (MANY, PEER): 1.15, (OV_MANY, OV_PEER): 1.1}
SQUARE = {"rect": False}  # the same size as everybody


@dataclass
class Context:
    """A run that nobody watches."""

    work_dir: Path

    def progress(self, done: int, total: int, unit: str) -> None:
        """Not shown."""

    def checkpoint(self) -> None:
        """Never stops."""


@dataclass
class Rows:
    """Pictures per second of each case, a number per round."""

    images: int
    per_s: dict[str, list[float]] = field(default_factory=dict)
    detections: dict[str, int] = field(default_factory=dict)

    def take(self, case: str, work: Callable[[], int]) -> None:
        began = time.perf_counter()
        found = work()
        self.add(case, time.perf_counter() - began, found)

    def add(self, case: str, seconds: float, found: int) -> None:
        self.per_s.setdefault(case, []).append(self.images / seconds)
        self.detections[case] = found

    def median(self, case: str) -> float:
        return statistics.median(self.per_s[case])


def photographs(media: Path) -> list[Path]:
    """Every JPEG of the media folder that is none of the hostile ones."""
    return sorted(path for path in media.rglob("*.jpg") if "hostile" not in path.parts)


class Ours:
    """The engine on two threads."""

    def __init__(self, mirror: str, folder: Path, policy: Policy) -> None:
        sessions = Sessions(threads=THREADS, open_runner=RunnerOpener(policy))
        self._registry = open_registry(store=folder / "s", mirror=mirror, sessions=sessions)
        self._folder = folder
        self._engine = self._registry.engine("detect")
        self._model = self._registry.resolve("detect", MODEL)

    def items(self, paths: list[Path]) -> Iterator[RunItem]:
        """As the command line makes them: what a picture is, by its header."""
        params = self._engine.params_model()
        for path in paths:
            info = glance(path, self._registry.limits)
            files = InputFiles(path, info)
            yield RunItem(self._model, params, files, Context(self._folder))

    def many(self, paths: list[Path]) -> int:
        return sum(_found(each) for each in self._engine.run_many(self.items(paths)))

    def alone(self, paths: list[Path]) -> int:
        return sum(
            _found(self._engine.run(item.model, item.params, item.files, item.context))
            for item in self.items(paths)
        )


def _found(outcome: object) -> int:
    if not isinstance(outcome, EngineResult):
        raise SystemExit(f"a picture failed: {outcome!r}")
    return len(outcome.data["predictions"])


def bare(weights: Path, paths: list[Path]) -> Callable[[], int]:
    """A loop over ready tensors on a plain session of two threads."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    ready = [rng.random((1, 3, 640, 640), dtype=np.float32) for _ in range(8)]

    def work() -> int:
        for number in range(len(paths)):
            session.run(None, {"images": ready[number % len(ready)]})
        return 0

    return work


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60, help="per case and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    mirror, media = (
        os.environ.get(f"PIXELMETER_{name}") for name in ("MODEL_MIRROR", "TEST_MEDIA")
    )
    if not mirror or not media:
        print("skipped: set PIXELMETER_MODEL_MIRROR and PIXELMETER_TEST_MEDIA", file=sys.stderr)
        return 0
    found = photographs(Path(media))
    paths = [found[number % len(found)] for number in range(options.images)]
    rows = Rows(options.images)
    weights = Path(mirror) / WEIGHTS
    peer = Peer(threads=THREADS) if is_installed() else None
    with tempfile.TemporaryDirectory(prefix="detect-bench-") as folder:
        try:
            ours = Ours(mirror, Path(folder), Policy())
            cases: dict[str, Callable[[], int]] = {
                BARE: bare(weights, paths),
                ALONE: lambda: ours.alone(paths),
                MANY: lambda: ours.many(paths),
            }
            if peer is not None:
                add_openvino(
                    cases,
                    peer=peer,
                    mirror=mirror,
                    folder=Path(folder),
                    weights=weights,
                    paths=paths,
                )
            _measure(rows, cases, peer, weights, paths, rounds=options.rounds)
        finally:
            if peer is not None:
                peer.__exit__(None, None, None)
    return _report(rows, options.json)


def add_openvino(
    cases: dict[str, Callable[[], int]],
    *,
    peer: Peer,
    mirror: str,
    folder: Path,
    weights: Path,
    paths: list[Path],
) -> None:
    """Our row on OpenVINO, in the precision in which the peer runs here."""
    try:
        precision = peer.ask(weights, "detect", paths[:4], runtime="openvino", **SQUARE)[
            "precision"
        ]
        ours = Ours(mirror, folder, Policy(RunnerName.OPENVINO, openvino_precision=precision))
    except Exception as error:  # noqa: BLE001 - a bench without one of its rows says so
        print(f"no OpenVINO rows: {error}", file=sys.stderr)
        return
    print(f"OpenVINO computes in {precision} on both sides", file=sys.stderr)
    cases[OV_MANY] = lambda: ours.many(paths)


def _measure(
    rows: Rows,
    cases: dict[str, Callable[[], int]],
    peer: Peer | None,
    weights: Path,
    paths: list[Path],
    *,
    rounds: int,
) -> None:
    for work in cases.values():
        work()  # warm
    peers = {} if peer is None else {PEER: "onnx"}
    if OV_MANY in cases:
        peers[OV_PEER] = "openvino"
    for runtime in peers.values():
        peer.ask(weights, "detect", paths[:4], runtime=runtime, **SQUARE)
    for number in range(rounds):
        for case, work in cases.items():
            rows.take(case, work)
        for case, runtime in peers.items():
            answer = peer.ask(weights, "detect", paths, runtime=runtime, **SQUARE)
            rows.add(case, answer["seconds"], answer["detections"])
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)


def _report(rows: Rows, path: Path | None) -> int:
    print(f"{'':24}{'images/s':>10}{'x bare':>8}{'spread':>8}{'detections':>12}")
    for case, values in rows.per_s.items():
        middle = rows.median(case)
        spread = (max(values) - min(values)) / middle
        ratio = middle / rows.median(BARE)
        print(f"{case:24}{middle:10.1f}{ratio:8.2f}{spread:8.0%}{rows.detections[case]:12}")
    told = {}
    for (case, against), aim in AIMS.items():
        if against in rows.per_s:
            ratio = rows.median(case) / rows.median(against)
            told[f"{case} / {against}"] = {"ratio": round(ratio, 3), "aim": aim}
            verdict = "met" if ratio >= aim else "NOT met"
            print(f"{case} / {against}: {ratio:.2f} (aim {aim}: {verdict})")
        else:
            print(f"{case} / {against}: not measured; run make bench-peers")
    if path is not None:
        numbers = {"images_per_s": rows.per_s, "detections": rows.detections, "ratios": told}
        path.write_text(json.dumps(numbers, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
