"""A video that was looked at in parts becomes one result."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.detect.exports import Exports
from engines.detect.params import DetectParams
from engines.detect.summary import FrameLog
from engines.detect.videos import LOG_NAME
from engines.media.delivery import encoding_of
from engines.media.encoding import output_suffix
from engines.media.index import VideoIndex, index_video
from engines.media.limits import MediaLimits
from engines.media.segments import check_complete, join_segments
from engines.media.video import VideoWork
from engines.metering import StageClock, joined_usage
from engines.spec import EngineResult, OutputFile, RunItem, Work


def join_parts(
    item: RunItem, asked: DetectParams, parts: Sequence[EngineResult], limits: MediaLimits
) -> EngineResult:
    """Join the logs, the exports and the drawn videos; numbers of frames count on."""
    clock, folder = StageClock(), item.context.work_dir
    with clock.aside("index"):
        index = index_video(item.files.target, limits)
    paths = [{file.name: file.path for file in part.files} for part in parts]
    size = (index.width, index.height)
    exports = Exports(asked.export, folder, size=size, labels=(), many=True)
    with clock.aside("join"), FrameLog(folder / LOG_NAME) as log, exports:
        for part in paths:
            item.context.checkpoint()
            before = log.frames
            log.add_part(part[LOG_NAME])
            exports.add_part(part, [f"{frame:06d}" for frame in range(before, log.frames)])
    with clock.aside("join"):
        work, drawn = _video(item, asked, parts, index, log.frames)
    listing = OutputFile(log.path, "application/json", LOG_NAME)
    quantities = {**parts[0].usage.work.quantities, "frames": work.frames}
    whole = Work(quantities, parts[0].usage.work.attributes)
    data = {**work.described(), **log.summary(), **_facts(parts, clock)}
    usage = joined_usage(clock, [part.usage for part in parts], whole)
    return EngineResult((*drawn, listing, *exports.files), data, usage)


def _video(
    item: RunItem,
    asked: DetectParams,
    parts: Sequence[EngineResult],
    index: VideoIndex,
    frames: int,
) -> tuple[VideoWork, tuple[OutputFile, ...]]:
    lost = sum(int(part.data["frames_lost"]) for part in parts)
    if not asked.annotate:
        check_complete(index, frames=frames, lost=lost)
        return VideoWork(frames, index.duration_s, index.width, index.height, lost), ()
    encoding = encoding_of(asked.quality, asked.container, in_parts=True)
    suffix = output_suffix(index, encoding.container)
    path = item.context.work_dir / f"annotated{suffix}"
    work = join_segments(
        item.files.target,
        [part.files[0].path for part in parts],
        path,
        index=index,
        encoding=encoding,
        context=item.context,
        lost=lost,
    )
    return work, (work.file(path, name=path.stem),)


def _facts(parts: Sequence[EngineResult], clock: StageClock) -> Mapping[str, Any]:
    """What every part says of the model, and the times around the network of all together."""
    timing: dict[str, float] = {}
    for part in (*(part.data["timing_ms"] for part in parts), clock.asides_ms):
        for name, elapsed_ms in part.items():
            timing[name] = timing.get(name, 0.0) + elapsed_ms
    same = ("model", "weights_sha256", "img_size")
    return {
        **{name: parts[0].data[name] for name in same},
        "timing_ms": {name: round(elapsed_ms, 3) for name, elapsed_ms in timing.items()},
    }
