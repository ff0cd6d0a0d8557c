"""One picture, stage by stage: read and look, guess colour, lay it over the light and write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.colorize import upscale
from engines.colorize.kinds import looking_size
from engines.colorize.laying import lay
from engines.colorize.looking import Looked, Looker
from engines.colorize.painters import Painted, Painter, Subject
from engines.colorize.params import ColorizeParams, typed
from engines.colorize.report import picture_data, picture_work
from engines.manifest import ModelVersion
from engines.media.rows import Rows, new_rows
from engines.media.scans import Scan, open_scan, save_scan, suffix_of_result
from engines.metering import StageClock, usage_report
from engines.registry import Services
from engines.spec import EngineResult, OutputFile, RunItem


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A picture that was read and looked at."""

    item: RunItem
    asked: ColorizeParams
    clock: StageClock
    scan: Scan
    looked: Looked


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A picture on its way through a model."""

    seen: Seen
    model: ModelVersion
    subject: Subject


class PictureRuns:
    """The stages of pictures; ``see``, ``begin`` and ``finish`` on any thread."""

    def __init__(self, services: Services, looker: Looker) -> None:
        self._services = services
        self._looker = looker

    def see(self, item: RunItem, clock: StageClock) -> Seen:
        """Read a picture and find out what it shows."""
        context, asked = item.context, typed(item.params)
        context.checkpoint()
        with clock.aside("decode"):
            scan = open_scan(item.files.target, context.work_dir, limits=self._services.limits)
        context.checkpoint()
        looked = self._looker.look(item.model, scan.rows, asked.type, clock)
        return Seen(item, asked, clock, scan, looked)

    def begin(self, seen: Seen, model: ModelVersion, painter: Painter) -> Begun:
        """Make what the model looks at."""
        size = looking_size(self._services.registry, model, seen.asked, seen.looked.kind)
        with seen.clock.aside("shrink"):
            subject = painter.look(seen.scan.rows, size, seen.looked.faces)
        seen.item.context.checkpoint()
        return Begun(seen, model, subject)

    def finish(self, begun: Begun, painted: Painted, painter: Painter) -> EngineResult:
        """Lay the colour over the light, enlarge, write the file and the report."""
        seen, context = begun.seen, begun.seen.item.context
        scan, clock, asked = seen.scan, seen.clock, seen.asked
        clock.add("infer", painted.elapsed_ms)
        context.progress(1, 2, "steps")
        with clock.stage("join"):
            coloured = _coloured(begun, painted, painter)
        alpha = scan.alpha
        if asked.upscale > 1:
            with clock.stage("upscale"):
                coloured, alpha = upscale.enlarged(
                    coloured, alpha, asked.upscale, context.work_dir, pause=context.checkpoint
                )
        with clock.aside("encode"):
            file = _written(seen, coloured, alpha)
        context.progress(2, 2, "steps")
        work = picture_work(
            begun.model,
            asked,
            kind=seen.looked.kind,
            size=(scan.rows.width, scan.rows.height),
        )
        data = picture_data(
            begun.model,
            asked,
            looked=seen.looked,
            scan=scan,
            looked_at=begun.subject.size,
            result=coloured,
        )
        usage = usage_report(clock, work=work, model=begun.model, execution=painter.execution)
        return EngineResult(files=(file,), data=data, usage=usage)


@dataclass(frozen=True, slots=True)
class Lane:
    """Runs the model of one lane; a call beside others counts with its share of the threads."""

    painter: Painter
    tile: int | None
    lanes: int

    def __call__(self, begun: Sequence[Begun]) -> list[Painted]:
        """The colours."""
        painted = self.painter.paint([each.subject for each in begun], tile=self.tile)
        return [Painted(each.colour, each.elapsed_ms / self.lanes) for each in painted]


def _coloured(begun: Begun, painted: Painted, painter: Painter) -> Rows:
    seen = begun.seen
    rows, context, manner = seen.scan.rows, seen.item.context, seen.asked.chroma
    height, width = rows.height, rows.width
    spread = painter.spread(manner, begun.subject, painted.colour, height=height, width=width)
    into = new_rows(
        context.work_dir / "coloured.raw",
        height=height,
        width=width,
        channels=3,
        dtype=seen.scan.result_depth,
    )
    lay(rows, spread, into, manner=manner, pause=context.checkpoint)
    return into


def _written(seen: Seen, coloured: Rows, alpha: Rows | None) -> OutputFile:
    scan, folder = seen.scan, seen.item.context.work_dir
    ending = suffix_of_result(scan)
    path = folder / f"colorized{ending}"
    save_scan(scan, coloured, path, alpha=alpha)
    _forget_samples(folder)
    name = f"{seen.item.files.target.stem}-colorized{ending}"
    return OutputFile(path=path, media_type=scan.result_type, name=name)


def _forget_samples(folder: Path) -> None:
    """Free the disk that large pictures took; nothing reads their samples again."""
    for path in folder.glob("*.raw"):
        path.unlink()
