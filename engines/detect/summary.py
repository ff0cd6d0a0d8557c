"""The detections of a whole video: every frame into a file, one line per class into the result."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from engines.detect.detection import Detection


@dataclass(slots=True)
class _Class:
    detections: int = 0
    frames: int = 0
    most_at_once: int = 0
    best: dict[str, Any] | None = None  # a detection with its frame and time


class FrameLog:
    """Writes ``detections.json`` frame by frame, so memory does not grow with the video.

    The file: ``{"frames": [{"frame": 0, "pts_s": 0.0, "predictions": [...]}, ...]}``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._frames = 0
        self._classes: dict[str, _Class] = {}

    def __enter__(self) -> Self:
        """Open the file."""
        self._file = self.path.open("w", encoding="utf-8")
        self._file.write('{"frames": [')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.write("\n]}\n")
            self._file.close()
            self._file = None

    @property
    def frames(self) -> int:
        """How many frames were looked at so far."""
        return self._frames

    def add(self, pts_s: float, detections: Sequence[Detection]) -> None:
        """The next frame, in order."""
        self._append(round(pts_s, 6), [detection.as_json() for detection in detections])

    def add_part(self, path: Path) -> None:
        """The frames of the log of the next part of a video."""
        with path.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:  # one frame a line, as written below
                if line.startswith('{"frame"'):
                    frame = json.loads(line.rstrip(",\n"))
                    self._append(frame["pts_s"], frame["predictions"])

    def _append(self, pts_s: float, found: list[dict[str, Any]]) -> None:
        if self._file is None:
            raise ValueError("use FrameLog as a context manager")
        frame = {"frame": self._frames, "pts_s": pts_s}
        line = json.dumps({**frame, "predictions": found}, separators=(",", ":"))
        self._file.write(f"{',' if self._frames else ''}\n{line}")
        self._frames += 1
        by_label: dict[str, list[dict[str, Any]]] = {}
        for prediction in found:
            by_label.setdefault(prediction["label"], []).append(prediction)
        for label, predictions in by_label.items():
            self._count(label, predictions, frame)

    def summary(self) -> dict[str, Any]:
        """``classes`` with counts, and ``predictions``: the best one of each class, best first."""
        best = [each.best for each in self._classes.values() if each.best is not None]
        return {
            "frames": self._frames,
            "classes": {
                label: {
                    "detections": each.detections,
                    "frames": each.frames,
                    "most_at_once": each.most_at_once,
                }
                for label, each in sorted(self._classes.items())
            },
            "predictions": sorted(best, key=lambda each: -each["confidence"]),
        }

    def _count(self, label: str, predictions: list[dict[str, Any]], frame: dict[str, Any]) -> None:
        counted = self._classes.setdefault(label, _Class())
        counted.detections += len(predictions)
        counted.frames += 1
        counted.most_at_once = max(counted.most_at_once, len(predictions))
        strongest = predictions[0]  # detections come best first
        if counted.best is None or strongest["confidence"] > counted.best["confidence"]:
            counted.best = {**strongest, **frame}
