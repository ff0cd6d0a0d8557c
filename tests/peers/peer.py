"""Talk to the reference implementation in ``.peers/yolo``."""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".peers" / "yolo" / "bin" / "python"
INSIDE = Path(__file__).resolve().parent / "inside"


def is_installed() -> bool:
    """Whether ``make bench-peers`` was run here."""
    return (ROOT / ".peers" / "yolo" / "complete").exists()


def export(name: str, path: Path, **options: Any) -> Path:
    """A network of an architecture with seeded weights; kept in ``.peers`` for the next time."""
    told = "-".join([name, *(f"{key}-{value}" for key, value in options.items())])
    kept = ROOT / ".peers" / "networks" / f"{told}.onnx"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        command = [PYTHON, INSIDE / "export.py", name, kept, json.dumps(options)]
        subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(kept.read_bytes())
    return path


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer found in one picture."""

    boxes: NDArray[np.float32]  # [n, 6] x1 y1 x2 y2 score class
    masks: NDArray[np.bool_] | None  # [n, height, width]
    keypoints: NDArray[np.float32] | None  # [n, points, numbers]


class Peer:
    """The peer's process; a context manager."""

    def __init__(self, *, threads: int = 2) -> None:
        environment = {**os.environ, "PEER_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        self._folder = tempfile.TemporaryDirectory(prefix="peer-")
        self._process = subprocess.Popen(
            [PYTHON, INSIDE / "predict.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
        self._folder.cleanup()

    def ask(
        self,
        model: Path,
        task: str,
        pictures: list[Path],
        *,
        runtime: str = "onnx",
        **options: Any,
    ) -> dict[str, Any]:
        """Time and number of detections; the pictures one after the other, as its users do."""
        request = {
            "runtime": runtime,
            "model": str(model),
            "task": task,
            "pictures": [str(each) for each in pictures],
            "options": options,
        }
        return self._send(request)

    def predict(self, model: Path, task: str, pictures: list[Path], **options: Any) -> list[Answer]:
        """What it finds in each picture."""
        out = Path(self._folder.name) / "answer.npz"
        request = {
            "model": str(model),
            "task": task,
            "pictures": [str(each) for each in pictures],
            "options": options,
            "out": str(out),
        }
        self._send(request)
        with np.load(out) as arrays:
            return [_answer(arrays, number) for number in range(len(pictures))]

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"ok": False, "error": "the peer's process ended"}
        if not answer["ok"]:
            raise RuntimeError(answer["error"])
        return answer


def _answer(arrays: Any, number: int) -> Answer:
    masks = None
    if f"masks_{number}" in arrays:
        shape = arrays[f"shape_{number}"]
        bits = np.unpackbits(arrays[f"masks_{number}"], count=int(np.prod(shape)))
        masks = bits.reshape(shape).astype(bool)
    return Answer(arrays[f"boxes_{number}"], masks, arrays.get(f"keypoints_{number}"))
