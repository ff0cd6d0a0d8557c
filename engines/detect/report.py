"""What a run of detection tells about itself."""

from collections.abc import Mapping
from typing import Any

from engines.manifest import ModelVersion
from engines.metering import Execution, StageClock, usage_report
from engines.spec import EngineResult, MediaKind, OutputFile, UsageReport, Work

Size = tuple[int, int]  # height, width


def work_of(model: ModelVersion, kind: MediaKind, count: int, size: Size) -> Work:
    """Pictures or frames, at the inference size that the price follows."""
    priced_as = str(model.options.get("priced_as", model.name))
    quantity = "images" if kind is MediaKind.IMAGE else "frames"
    return Work(
        quantities={quantity: count, "input_pixels": size[0] * size[1]},
        attributes={"media": kind.value, "model": priced_as},
    )


def usage(
    model: ModelVersion,
    kind: MediaKind,
    count: int,
    *,
    size: Size,
    clock: StageClock,
    execution: Execution,
) -> UsageReport:
    """The usage report of ``count`` pictures or frames."""
    work = work_of(model, kind, count, size)
    return usage_report(clock, work=work, model=model, execution=execution)


def result(
    model: ModelVersion,
    size: Size,
    clock: StageClock,
    *,
    files: tuple[OutputFile, ...],
    data: Mapping[str, Any],
    usage: UsageReport,
) -> EngineResult:
    """``data`` with the model, weights, size and times around the network added."""
    weights = [file.sha256 for file in model.weights]
    facts = {
        "model": model.id,
        "weights_sha256": weights[0] if weights else None,
        "img_size": list(size),
        "timing_ms": {name: round(ms, 3) for name, ms in clock.asides_ms.items()},
    }
    return EngineResult(files=files, data={**data, **facts}, usage=usage)
