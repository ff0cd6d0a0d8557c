"""One picture, stage by stage: read and look, guess colour, lay it over the light and write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.colorize import realesrgan, upscale
from engines.colorize.chroma import colourfulness
from engines.colorize.kinds import looking_size
from engines.colorize.laying import lay
from engines.colorize.looking import Looked, Looker
from engines.colorize.painters import Painted, Painter, Subject
from engines.colorize.params import ColorizeParams, typed
from engines.colorize.previews import write_previews
from engines.colorize.report import Restored, picture_data, picture_work
from engines.colorize.restoration import denoised, descratched
from engines.colorize.shrink import Method, shrink
from engines.manifest import ModelVersion
from engines.media.frames import check_single
from engines.media.label import label_rows
from engines.media.resizing import resized
from engines.media.rows import Rows, new_rows
from engines.media.scans import Scan, open_scan, save_scan, suffix_of_result
from engines.metering import StageClock, usage_report
from engines.registry import Services
from engines.runners.base import Runner
from engines.spec import EngineResult, OutputFile, RunItem

_GLANCE_PX = 128
_FADED = 3.0  # mean of |a| and |b|; the tint of a scan stays below


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A picture that was read and looked at."""

    item: RunItem
    asked: ColorizeParams
    clock: StageClock
    scan: Scan
    rows: Rows  # of the scan, restored where that was asked for
    looked: Looked
    grain: float | None  # that was found, in 8-bit steps; None: nobody looked
    had_colour: bool  # the picture itself, not only its file's form


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
        check_single(item.files.target_info, first_frame=asked.first_frame)
        with clock.aside("decode"):
            scan = open_scan(item.files.target, context.work_dir, limits=self._services.limits)
        context.checkpoint()
        rows, grain = _restored(item, scan.rows, clock)
        looked = self._looker.look(item.model, rows, asked.type, clock)
        return Seen(item, asked, clock, scan, rows, looked, grain, _has_colour(scan.rows))

    def begin(self, seen: Seen, model: ModelVersion, painter: Painter) -> Begun:
        """Make what the model looks at."""
        size = looking_size(self._services.registry, model, seen.asked, seen.looked.kind)
        with seen.clock.aside("shrink"):
            subject = painter.look(seen.rows, size, seen.looked.faces)
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
        coloured, alpha, upscaler = self._enlarged(begun, coloured)
        coloured, alpha = _sized(seen, coloured, alpha)
        with clock.aside("encode"):
            files = _written(seen, coloured, alpha)
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
            had_colour=seen.had_colour,
            looked_at=begun.subject.size,
            result=coloured,
            restored=Restored(upscaler=upscaler, grain=seen.grain),
            files=files,
        )
        usage = usage_report(clock, work=work, model=begun.model, execution=painter.execution)
        return EngineResult(files=files, data=data, usage=usage)

    def _enlarged(self, begun: Begun, coloured: Rows) -> tuple[Rows, Rows | None, str | None]:
        """The coloured picture, its alpha and what enlarged it: a network where its file is."""
        seen = begun.seen
        alpha, factor, context = seen.scan.alpha, seen.asked.upscale, seen.item.context
        if factor == 1:
            return coloured, alpha, None
        folder, pause = context.work_dir, context.checkpoint
        network = self._upscaler(begun)
        with seen.clock.stage("upscale"):
            if network is None:
                return *upscale.enlarged(coloured, alpha, factor, folder, pause=pause), upscale.NAME
            large = realesrgan.enlarged(
                network, coloured, factor, folder / "enlarged.raw", pause=pause
            )
            if alpha is not None:
                alpha = upscale.enlarge_rows(alpha, factor, folder / "enlarged-alpha.raw", pause)
            return large, alpha, realesrgan.NAME

    def _upscaler(self, begun: Begun) -> Runner | None:
        path = self._services.registry.extra_path(begun.model, realesrgan.FILE)
        if path is None:
            return None
        loaded = self._services.sessions.runner(path)
        begun.seen.clock.add_cold_start(loaded.cold_start_ms)
        return loaded.value


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
    rows, context, manner = seen.rows, seen.item.context, seen.asked.chroma
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


def _sized(seen: Seen, coloured: Rows, alpha: Rows | None) -> tuple[Rows, Rows | None]:
    """The result in the size asked for, if any was."""
    sizing, folder = seen.asked.sizing, seen.item.context.work_dir
    if sizing is None:
        return coloured, alpha
    with seen.clock.aside("resize"):
        if alpha is not None:
            alpha = resized(alpha, sizing, folder / "sized-alpha.raw")
        return resized(coloured, sizing, folder / "sized.raw"), alpha


def _has_colour(rows: Rows) -> bool:
    """Whether a picture stored in colour shows any: most old photographs do not."""
    if rows.channels == 1:
        return False
    side = min(_GLANCE_PX, rows.height), min(_GLANCE_PX, rows.width)
    return colourfulness(shrink(rows, height=side[0], width=side[1], method=Method.AREA)) > _FADED


def _restored(item: RunItem, rows: Rows, clock: StageClock) -> tuple[Rows, float | None]:
    """The picture without grain and scratches, where that was asked for."""
    asked, context, grain = typed(item.params), item.context, None
    if asked.denoise:
        with clock.stage("denoise"):
            path = context.work_dir / "denoised.raw"
            rows, grain = denoised(rows, path, pause=context.checkpoint)
    if asked.scratch:
        with clock.stage("scratch"):
            path = context.work_dir / "descratched.raw"
            rows = descratched(rows, path, pause=context.checkpoint)
    return rows, grain


def _written(seen: Seen, coloured: Rows, alpha: Rows | None) -> tuple[OutputFile, ...]:
    scan, folder = seen.scan, seen.item.context.work_dir
    ending = suffix_of_result(scan)
    path = folder / f"colorized{ending}"
    label_rows(coloured, seen.asked.label, alpha=alpha)
    save_scan(scan, coloured, path, alpha=alpha)
    stem = seen.item.files.stem
    file = OutputFile(path=path, media_type=scan.result_type, name=f"{stem}-colorized{ending}")
    previews = write_previews(scan, coloured, folder, stem)
    _forget_samples(folder)
    return (file, *previews)


def _forget_samples(folder: Path) -> None:
    """Free the disk that large pictures took; nothing reads their samples again."""
    for path in folder.glob("*.raw"):
        path.unlink()
