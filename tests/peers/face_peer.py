"""Ask the insightface package in ``.peers/insightface``."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".peers" / "insightface"
INSIDE = Path(__file__).resolve().parent / "inside"

Answer = Mapping[str, NDArray[Any]]


def is_installed() -> bool:
    """Whether ``make bench-peers`` was run here."""
    return (FOLDER / "complete").exists()


def ask(request: Mapping[str, Any]) -> Answer:
    """The arrays of one answer; ``inside/faces.py`` tells the form of both."""
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        asked, answer = Path(name) / "request.json", Path(name) / "answer.npz"
        asked.write_text(json.dumps(request, default=str))
        command = [FOLDER / "bin" / "python", "-W", "ignore", INSIDE / "faces.py", asked, answer]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        with np.load(answer) as arrays:
            return dict(arrays)
