"""Frames per second of swapping faces in video, with one, two and four faces in every frame.

    PIXELMETER_MODEL_MIRROR=DIR PIXELMETER_TEST_MEDIA=DIR \\
        python tests/bench/bench_faces.py [--frames 120] [--rounds 3] [--json FILE]

The same three ONNX files for everybody: YuNet, an embedder, and a stub of inswapper_128, which has
the exact inputs and outputs but almost no arithmetic. The aims hold with a real embedder
(MobileFaceNet); with a stub of w600k_r50 too, everything around the networks shows, and there is no
aim. Two threads, frames decoded and in memory, nothing encoded, medians of rounds:

* bare: the `session.run` calls of a loop (one detection a frame; one embedding and one swap for
  each face) on ready arrays, spread over two workers of one thread;
* loop: the same steps one after the other, with the insightface package's own classes and paste
  where `make bench-peers` was run, else a loop in its manner (`face_loop.py` says which it was);
* many: the engine with `faces` many: nobody is told from anybody, so nothing is embedded;
* mapping: the engine with one source for each person, told by the frame that shows all best. Who
  turned away before being recognised is not replaced.

The engine follows faces: it looks at every frame only where they do not go straight on, and embeds
only where their places do not tell them.
The last row is the whole engine from file to file, decoding and encoding too, on a clip repeated to
two minutes: memory of the process and its children at a quarter of it and at its end.
Aims: mapping >= 0.7 x bare, >= 3 x loop; memory grows by 10 % at most.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "peers"), str(ROOT / "tests" / "bench")]

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from face_ways import (  # noqa: E402
    CLIPS,
    DETECT,
    REAL,
    STUB,
    STUBS,
    SWAP,
    THREADS,
    bare,
    frames_of,
    loop,
    repeated,
)

from engines.face_swap.binding import Binding  # noqa: E402
from engines.face_swap.casting import cast  # noqa: E402
from engines.face_swap.engine import create  # noqa: E402
from engines.face_swap.following import Follower  # noqa: E402
from engines.face_swap.frames import FrameSwapper  # noqa: E402
from engines.face_swap.params import FaceSwapParams, typed  # noqa: E402
from engines.face_swap.selection import in_order  # noqa: E402
from engines.face_swap.source import Source  # noqa: E402
from engines.face_swap.videos import load_lanes  # noqa: E402
from engines.faces.face import Face  # noqa: E402
from engines.media.frame import Frame  # noqa: E402
from engines.media.probe import probe  # noqa: E402
from engines.metering import StageClock  # noqa: E402
from engines.registry import Registry, Services  # noqa: E402
from engines.sessions import Sessions  # noqa: E402
from engines.spec import InputFiles  # noqa: E402
from engines.unkept import NoBlockedFaces, NoEmbeddings  # noqa: E402

FPS = 25.0
CONTRACTS = {STUB: "arcface-w600k", REAL: "mobilefacenet"}
BARE, LOOP, MANY, MAPPING = "bare session.run", "loop", "engine, many", "engine, mapping"
MEMORY_AIM = 0.1
AIMS = {(MAPPING, BARE): 0.7, (MAPPING, LOOP): 3.0}


@dataclass
class Context:
    """A run that nobody watches."""

    work_dir: Path
    embeddings: NoEmbeddings = field(default_factory=NoEmbeddings)
    blocked_faces: NoBlockedFaces = field(default_factory=NoBlockedFaces)

    memory: dict[float, int] = field(default_factory=dict)  # bytes, by share of the work

    def progress(self, done: int, total: int, unit: str) -> None:
        """Look at the memory of this process and of those it started."""
        own = psutil.Process()
        everybody = [own, *own.children(recursive=True)]
        self.memory[done / total] = sum(_resident(each) for each in everybody)

    def around(self, share: float) -> int:
        """The median of a tenth of the run around a share of it."""
        near = [value for at, value in self.memory.items() if abs(at - share) <= 0.05]
        return int(statistics.median(near))

    def checkpoint(self) -> None:
        """Never stops."""


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


class Ours:
    """The engine, its learned model on stubs; the embedder may be a real one."""

    def __init__(self, mirror: Path, folder: Path, embedder: str) -> None:
        store = folder / "store"
        store.mkdir(parents=True)
        manifest = (ROOT / "engines" / "face_swap" / "engine.toml").read_text()
        self.embedder = embedder
        self.files = {
            name: mirror / "stubs" / STUBS[name] if name in STUBS else mirror / name
            for name in (DETECT, embedder, SWAP)
        }
        manifest = manifest.replace(
            f'file = "{STUB}", contract = "{CONTRACTS[STUB]}"',
            f'file = "{embedder}", contract = "{CONTRACTS[embedder]}"',
        ).replace(f'file = "{STUB}"\n', f'file = "{embedder}"\n')
        for name, path in self.files.items():
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            facts = f'sha256 = "{digest}"\nbytes = {len(content)}'
            pattern = rf'(file = "{re.escape(name)}"\n)sha256 = "\w+"\nbytes = \d+'
            manifest = re.sub(pattern, rf"\g<1>{facts}", manifest)
            shutil.copyfile(path, store / name)
        declared = folder / "engine"
        declared.mkdir()
        (declared / "engine.toml").write_text(manifest)
        sessions = Sessions(threads=THREADS)
        registry = Registry([declared], store=store, sessions=sessions)
        self.services = Services(registry, sessions, registry.limits)
        self.model = registry.resolve("face-swap", "inswapper-128")
        self.engine = create(self.services)

    def frames(self, pixels: np.ndarray, faces: int, *, mapped: bool) -> Callable[[], int]:
        """Swap all frames; what is counted are faces replaced."""
        pairs = [{"source": n, "reference": n} for n in range(faces)]
        asked = {"mapping": pairs} if mapped else {"faces": "many"}
        wanted = typed(self.engine.params_model.model_validate(asked))
        rng = np.random.default_rng(0)
        vectors = self._persons(pixels, faces, wanted)

        def work() -> int:
            clock = StageClock()
            lanes = load_lanes(self.services, self.model, wanted, clock)
            who = cast(wanted, pictures=faces if mapped else 1)
            persons = {}
            if mapped:
                persons = dict(enumerate(vectors))
            sources = [Source((n,), None, rng.random(512, np.float32)) for n in range(faces)]
            follower = Follower(Binding(wanted, who, persons))
            with FrameSwapper(lanes, follower, sources) as swapper:
                step = swapper.batch
                for start in range(0, len(pixels), step):
                    some = [
                        Frame(n, n, n / FPS, pixels[n].copy())
                        for n in range(start, min(start + step, len(pixels)))
                    ]
                    swapper.swap(some)
            return swapper.tally.faces

        return work

    def _persons(self, pixels: np.ndarray, faces: int, wanted: FaceSwapParams) -> list[np.ndarray]:
        """Unit vectors of those in the frame whose least certain face is the most certain."""
        tools = load_lanes(self.services, self.model, wanted, StageClock())[0]
        best: list[Face] = []
        for frame in pixels:
            found = tools.detect(frame)[:faces]
            if len(found) == faces and (not best or found[-1].score > best[-1].score):
                best, shown = found, frame
        return tools.recognise(shown, in_order(best, wanted.order))

    def whole(self, video: Path, source: Path, folder: Path) -> dict[str, float]:
        """Frames per second from file to file, compute, and memory early and late."""
        params = self.engine.params_model.model_validate({"faces": "many"})
        files = InputFiles(video, probe(video, self.services.limits), (source,))
        context = Context(folder)
        began = time.perf_counter()
        result = self.engine.run(self.model, params, files, context)
        frames = result.data["frames"]
        early, late = context.around(0.25), context.around(0.95)
        return {
            "per_s": frames / (time.perf_counter() - began),
            "compute_ms": result.usage.gpu_ms / frames,
            "early_mib": early / 2**20,
            "late_mib": late / 2**20,
            "growth": late / early - 1,
        }


def measure(ours: Ours, media: Path, folder: Path, *, faces: int, count: int, rounds: int) -> dict:
    """All rows for a number of faces."""
    pixels = frames_of(media, faces, count)
    cases = {
        BARE: bare(ours.files, ours.embedder, count, faces),
        MANY: ours.frames(pixels, faces, mapped=False),
        MAPPING: ours.frames(pixels, faces, mapped=True),
    }
    told = loop(ours.files, ours.embedder, pixels, folder, rounds)
    per_s: dict[str, list[float]] = {LOOP: told["per_s"]}
    replaced = {LOOP: told["faces"]}
    for number in range(-1, rounds):  # the first warms
        for case, work in cases.items():
            began = time.perf_counter()
            replaced[case] = work()
            if number >= 0:
                per_s.setdefault(case, []).append(count / (time.perf_counter() - began))
    return {"per_s": per_s, "replaced": replaced, "loop": told["name"]}


def report(faces: int, embedder: str, found: dict) -> dict:
    """Print the rows; return the ratios."""
    middle = {case: statistics.median(values) for case, values in found["per_s"].items()}
    name = "a stub of the embedder" if embedder in STUBS else embedder
    print(f"\n{faces} face(s) in every frame, {name}; the loop is the {found['loop']}")
    print(f"{'':20}{'frames/s':>10}{'x bare':>8}{'x loop':>8}{'spread':>8}{'faces':>8}")
    for case in (BARE, LOOP, MANY, MAPPING):
        values = found["per_s"][case]
        spread = (max(values) - min(values)) / middle[case]
        print(
            f"{case:20}{middle[case]:10.1f}{middle[case] / middle[BARE]:8.2f}"
            f"{middle[case] / middle[LOOP]:8.2f}{spread:8.0%}{found['replaced'][case]:8}"
        )
    ratios = {}
    for (case, against), aim in AIMS.items():
        ratio = middle[case] / middle[against]
        ratios[f"{case} / {against}"] = {"ratio": round(ratio, 3), "aim": aim}
        verdict = f"aim {aim}: {'met' if ratio >= aim else 'NOT met'}"
        told = "no aim with a stub" if embedder in STUBS else verdict
        print(f"{case} / {against}: {ratio:.2f} ({told})")
    return ratios


def report_long(long: dict[str, float], name: str, seconds: int) -> None:
    """Print what a long clip came to."""
    verdict = "met" if long["growth"] <= MEMORY_AIM else "NOT met"
    print(f"\n{seconds} s of {name} from file to file: {long['per_s']:.1f} frames/s,")
    print(f"{long['compute_ms']:.1f} ms of compute a frame; memory {long['early_mib']:.0f} MiB at")
    print(f"a quarter and {long['late_mib']:.0f} at the end, {long['growth']:+.1%} ", end="")
    print(f"(aim {MEMORY_AIM:.0%}: {verdict})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=120, help="per case and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=120, help="of the clip from file to file")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    mirror, media = (
        os.environ.get(f"PIXELMETER_{name}") for name in ("MODEL_MIRROR", "TEST_MEDIA")
    )
    if not mirror or not media:
        print("skipped: set PIXELMETER_MODEL_MIRROR and PIXELMETER_TEST_MEDIA", file=sys.stderr)
        return 0
    told: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="face-bench-") as name:
        folder = Path(name)
        for embedder in (REAL, STUB):
            ours = Ours(Path(mirror), folder / embedder, embedder)
            for faces in CLIPS:
                found = measure(
                    ours,
                    Path(media),
                    folder,
                    faces=faces,
                    count=options.frames,
                    rounds=options.rounds,
                )
                ratios = report(faces, embedder, found)
                told[f"{faces} {embedder}"] = {**found, "ratios": ratios}
        clip = Path(media) / "video" / CLIPS[1]
        source = Path(media) / "faces" / "grace_hopper.jpg"
        work = folder / "whole"
        work.mkdir()
        long = ours.whole(repeated(clip, options.seconds, folder), source, work)
        told["file to file"] = long
        report_long(long, clip.name, options.seconds)
    if options.json is not None:
        options.json.write_text(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
