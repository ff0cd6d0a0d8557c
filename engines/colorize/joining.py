"""A video that was coloured in parts becomes one result."""

from collections.abc import Sequence
from typing import Any

from engines.colorize.params import typed
from engines.media.delivery import encoding_of
from engines.media.encoding import output_suffix
from engines.media.index import index_video
from engines.media.limits import MediaLimits
from engines.media.segments import join_segments
from engines.metering import StageClock, joined_usage
from engines.spec import EngineResult, RunItem, Work


def join_parts(item: RunItem, parts: Sequence[EngineResult], limits: MediaLimits) -> EngineResult:
    """Join the videos; cuts and flicker are those of all parts together."""
    asked, clock = typed(item.params), StageClock()
    with clock.aside("index"):
        index = index_video(item.files.target, limits)
    encoding = encoding_of(asked.quality, asked.container, in_parts=True)
    path = item.context.work_dir / f"colorized{output_suffix(index, encoding.container)}"
    with clock.aside("join"):
        work = join_segments(
            item.files.target,
            [part.files[0].path for part in parts],
            path,
            index=index,
            encoding=encoding,
            context=item.context,
            lost=sum(int(part.data["frames_lost"]) for part in parts),
        )
    first = parts[0]
    quantities = {**first.usage.work.quantities, "frames": work.frames}
    usage = joined_usage(
        clock,
        [part.usage for part in parts],
        Work(quantities, first.usage.work.attributes),
    )
    data = {
        **first.data,
        "scene_cuts": sum(int(part.data["scene_cuts"]) for part in parts),
        "flicker": _flicker([part.data["flicker"] for part in parts]),
        **work.described(),
    }
    file = work.file(path, name=f"{item.files.stem}-colorized")
    return EngineResult((file,), data, usage)


def _flicker(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means over all pixels that stood still in any part."""
    counted = [part for part in parts if part["pixels"]]
    pixels = sum(part["pixels"] for part in counted)
    means = {
        name: round(sum(part[name] * part["pixels"] for part in counted) / pixels, 4)
        if pixels
        else None
        for name in ("unsmoothed", "smoothed")
    }
    return {**parts[0], **means, "pixels": pixels}
