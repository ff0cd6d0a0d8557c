"""A video that was done in parts becomes one result."""

from collections.abc import Sequence

from engines.face_swap.params import typed
from engines.face_swap.tally import Tally
from engines.media.delivery import encoding_of
from engines.media.encoding import output_suffix
from engines.media.index import index_video
from engines.media.limits import MediaLimits
from engines.media.segments import join_segments
from engines.metering import StageClock, joined_usage
from engines.spec import EngineResult, RunItem, Work


def join_parts(item: RunItem, parts: Sequence[EngineResult], limits: MediaLimits) -> EngineResult:
    """Join the videos; frames of each role count on from part to part.

    Raises:
        InvalidInputError: nothing was replaced in any part; as for one run over the whole.
    """
    wanted, clock, tally = typed(item.params), StageClock(), Tally()
    with clock.aside("index"):
        index = index_video(item.files.target, limits)
    for part in parts:
        tally.join(part.data)
    tally.check()
    encoding = encoding_of(wanted.quality, wanted.container, in_parts=True)
    path = item.context.work_dir / f"swapped{output_suffix(index, encoding.container)}"
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
    quantities = {
        **first.usage.work.quantities,
        "frames": work.frames,
        "seconds": work.seconds,
        "faces": tally.faces,
        "extra_faces": tally.extra_faces,
    }
    usage = joined_usage(
        clock,
        [part.usage for part in parts],
        Work(quantities, first.usage.work.attributes),
    )
    notes = dict.fromkeys(note for part in parts for note in part.data["notes"])
    data = {
        **first.data,
        **tally.describe(roles=len(first.data["sources"])),
        **work.described(),
        "notes": [*notes, *(note for note in work.notes if note not in notes)],
    }
    file = work.file(path, name=f"{item.files.stem}-swapped")
    return EngineResult((file,), data, usage)
