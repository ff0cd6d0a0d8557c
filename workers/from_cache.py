"""Giving an earlier result again: a copy of what another job of the tenant holds."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from app.files.models import File
from app.jobs.record import Claimed
from app.jobs.result_cache import Kept
from engines.errors import ExhaustedError
from engines.spec import EngineResult, OutputFile, UsageReport, Work
from workers.attempt import Attempt
from workers.services import Services
from workers.storing import at_hand
from workers.verdict import Succeeded

SOURCE = "cache"  # in place of a device and a runner: nothing ran


def earlier_result(services: Services, attempt: Attempt) -> Succeeded | None:
    """The result of the same question within a day, if it is still whole; nothing runs then."""
    kept = attempt.taken.kept
    if kept is None:
        return None
    try:
        result = copy_of(services, attempt.claimed, kept, folder=attempt.inputs_folder)
    except ExhaustedError:  # the storage is away: the run itself finds out or does without
        return None
    return None if result is None else Succeeded(result, cached=True)


def copy_of(
    services: Services, claimed: Claimed, kept: Kept, *, folder: Path
) -> EngineResult | None:
    """An earlier result as if it had just been made; None when one of its files is gone.

    Its files are copied by whoever stores the result: each job's outputs live as long as that job
    keeps them. The work is what was done then; no compute time is counted again.
    """
    entries = kept.output["files"]
    paths = _stored(services, claimed, [entry["id"] for entry in entries], folder)
    if not all(entry["id"] in paths for entry in entries):
        return None
    files = tuple(
        OutputFile(paths[entry["id"]], entry["media_type"], entry["name"]) for entry in entries
    )
    work = kept.report["work"]
    usage = UsageReport(
        work=Work(work["quantities"], work["attributes"]),
        model=kept.report["model"],
        device=SOURCE,
        runner=SOURCE,
        provider=SOURCE,
        precision=kept.report["precision"],
        stages_ms={},
        wall_ms=0.0,
        cold_start_ms=0.0,
        peak_memory_bytes=0,
    )
    return EngineResult(files=files, data=kept.output["data"], usage=usage)


def _stored(
    services: Services, claimed: Claimed, file_ids: Sequence[str], folder: Path
) -> dict[str, Path]:
    """Those of the tenant's files whose bytes are still here."""
    if not file_ids:
        return {}
    with services.relaxed() as session:
        rows = session.scalars(
            select(File).where(File.tenant_id == claimed.tenant_id, File.id.in_(file_ids))
        )
        keys = {file.id: file.storage_key for file in rows}
    folder.mkdir(exist_ok=True)
    paths: dict[str, Path] = {}
    for file_id, key in keys.items():
        with at_hand(), contextlib.suppress(FileNotFoundError):
            paths[file_id] = services.storage.local(key, folder)
    return paths
