"""Frames of a video through a detector: on lanes of their own where the device allows it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from time import perf_counter
from types import TracebackType
from typing import Self

from engines.detect.detection import Detection, Pixels, Question
from engines.detect.detector import Detector, detect_frames
from engines.metering import StageClock


class SideBySide:
    """Detects on some frames at a time; a context manager.

    Beside decoding and encoding, networks of one thread each do not wait for each other as the
    threads of one network do. Of n lanes each call counts one n-th, so that a frame costs no more.
    """

    def __init__(self, lanes: Sequence[Detector], question: Question, clock: StageClock) -> None:
        self._lanes = lanes
        self._question = question
        self._clock = clock
        self._free: SimpleQueue[Detector] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._hands = ThreadPoolExecutor(len(lanes), "detect")

    def detect(self, frames: Sequence[Pixels]) -> list[list[Detection]]:
        """Detections of each frame, best first."""
        if len(self._lanes) == 1:
            return detect_frames(self._lanes[0], frames, self._question, self._clock)
        return list(self._hands.map(self._one, frames))

    def _one(self, frame: Pixels) -> list[Detection]:
        lane, share = self._free.get(), 1000 / len(self._lanes)
        try:
            began = perf_counter()
            ready = lane.prepare(frame, self._question.size)
            prepared = perf_counter()
            [raw] = lane.infer([ready])
            inferred = perf_counter()
            found = lane.read(raw, ready, self._question)
        finally:
            self._free.put(lane)
        self._clock.add_aside("preprocess", (prepared - began) * share)
        self._clock.add("infer", raw.elapsed_ms / len(self._lanes))
        self._clock.add_aside("postprocess", (perf_counter() - inferred) * share)
        return found

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the threads."""
        self._hands.shutdown()
