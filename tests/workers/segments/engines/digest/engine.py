"""A line per frame: its time and the digest of its pixels. Deterministic, so that the result of a
video in segments can be compared byte for byte with that of one run."""

import hashlib
import time
from dataclasses import replace

from engines.errors import CanceledError, EngineFaultError, InvalidInputError
from engines.media.index import index_video
from engines.media.video import read_frames
from engines.metering import Execution, StageClock, usage_report
from engines.spec import CanceledRunError, EngineResult, OutputFile, Work

from .params import DigestParams  # noqa: TID252 - engines outside are packages of their own


def create(services):
    return Digest(services)


class Digest:
    params_model = DigestParams

    def __init__(self, services):
        self.manifest = services.registry.manifest("digest")
        self._limits = services.limits

    def plan(self, model, params, media):
        return self._work(model, media.target.frames)

    def overlap(self, model, params, media):
        return None if params.whole else 0

    def run(self, model, params, files, context):
        clock, done = StageClock(), 0
        index = index_video(files.target, self._limits)
        first, total = 0, index.frames
        if files.segment is not None:
            first, total = files.segment.first_frame, files.segment.frames
        path = context.work_dir / "frames.txt"
        with path.open("w") as lines:
            for frame in read_frames(files.target, index):
                if not first <= frame.index < first + total:
                    continue
                try:
                    context.checkpoint()
                except CanceledError as stop:
                    usage = self._usage(clock, model, done)
                    raise CanceledRunError(stop.detail, usage=usage) from stop
                with clock.stage("look"):
                    self._look(params, frame)
                    digest = hashlib.sha256(frame.pixels.tobytes()).hexdigest()
                lines.write(f"{frame.pts} {digest}\n")
                done += 1
                context.progress(done, total, "frames")
        file = OutputFile(path, "text/plain", "frames.txt")
        return EngineResult((file,), {"frames": done}, self._usage(clock, model, done))

    def joined(self, model, params, files, parts, context):
        path = context.work_dir / "frames.txt"
        with path.open("wb") as whole:
            for part in parts:
                context.checkpoint()
                whole.write(part.files[0].path.read_bytes())
                time.sleep(params.frame_ms / 1000)
        file = OutputFile(path, "text/plain", "frames.txt")
        frames = sum(part.data["frames"] for part in parts)
        gpu_ms = sum(part.usage.gpu_ms for part in parts)
        usage = replace(parts[0].usage, work=self._work(model, frames), stages_ms={"look": gpu_ms})
        return EngineResult((file,), {"frames": frames}, usage)

    def _look(self, params, frame):
        time.sleep(params.frame_ms / 1000)
        if frame.index == params.bad_frame:
            raise InvalidInputError("a frame nobody can look at", code="bad_frame")
        if frame.index == params.broken_frame:
            raise EngineFaultError("a frame broke the engine")

    def _work(self, model, frames):
        return Work({"frames": frames}, {"media": "video", "model": model.name})

    def _usage(self, clock, model, frames):
        work, execution = self._work(model, frames), Execution.opencv()
        return usage_report(clock, work=work, model=model, execution=execution)
