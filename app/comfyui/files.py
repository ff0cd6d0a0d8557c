"""Names of pictures: uploads, results, and what a client may call them. The only writer.

A name is a row that points to a file of the platform or to a job's result. The tenant is part of
every question.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import BinaryIO, Final

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.comfyui.models import ComfyFile
from app.comfyui.names import Place, numbered, saved_name
from app.files.intake import Intake
from app.files.models import File
from app.files.service import keep_until

LISTED_MAX: Final = 1000
NUMBERS_MAX: Final = 10_000

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('comfyui ' || :tenant_id, 0))")
_FIND = text(
    """
    SELECT file.id FROM comfyui_file AS known
        LEFT JOIN job ON job.id = known.job_id AND job.tenant_id = known.tenant_id
        JOIN file ON file.tenant_id = known.tenant_id AND file.expires_at > :now
            AND file.id = coalesce(known.file_id, job.output -> 'files' -> 0 ->> 'id')
    WHERE known.tenant_id = :tenant_id AND known.folder = :folder
        AND known.subfolder = :subfolder AND known.name = :name
    """
)


def lock_names(session: Session, tenant_id: str) -> None:
    """Let nobody else choose names of this tenant until the transaction ends."""
    session.execute(_LOCK, {"tenant_id": tenant_id})


def find(session: Session, *, tenant_id: str, place: Place, now: datetime) -> File | None:
    """The picture of a name, if it is there and has not expired."""
    file_id = session.scalar(
        _FIND,
        {
            "tenant_id": tenant_id,
            "folder": place.folder,
            "subfolder": place.subfolder,
            "name": place.name,
            "now": now,
        },
    )
    return None if file_id is None else session.get(File, file_id)


def store_upload(
    session: Session,
    intake: Intake,
    *,
    place: Place,
    stream: BinaryIO,
    overwrite: bool,
    now: datetime,
) -> Place:
    """Take in a picture and give it a name that is free; the same bytes keep theirs.

    Raises:
        ProblemError: what the platform's intake refuses.
    """
    file = intake.store(stream, name=place.name)
    lock_names(session, intake.tenant_id)
    for number in range(NUMBERS_MAX):
        wanted = place if number == 0 else _renamed(place, number)
        existing = find(session, tenant_id=intake.tenant_id, place=wanted, now=now)
        if existing is not None and existing.sha256 == file.sha256:
            keep_until(session, file_ids=[existing.id], until=file.expires_at)
            intake.withdraw()
            return wanted
        if existing is None or (overwrite and existing.job_id is None):
            _point(session, intake.tenant_id, wanted, file_id=file.id)
            return wanted
    raise RuntimeError(f"{NUMBERS_MAX} pictures share one name")


def reserve(
    session: Session,
    *,
    tenant_id: str,
    folder: str,
    subfolder: str,
    stem: str,
    ending: str,
    job_id: str | None,
    file_id: str | None,
) -> Place:
    """A name for a result: the next number of its stem; call it under ``lock_names``."""
    last = session.scalar(
        select(func.max(ComfyFile.number)).where(
            ComfyFile.tenant_id == tenant_id,
            ComfyFile.folder == folder,
            ComfyFile.subfolder == subfolder,
            ComfyFile.stem == stem,
        )
    )
    number = (last or 0) + 1
    place = Place(folder, subfolder, saved_name(stem, number, ending))
    _point(session, tenant_id, place, job_id=job_id, file_id=file_id, stem=stem, number=number)
    return place


def input_names(session: Session, *, tenant_id: str, now: datetime) -> tuple[str, ...]:
    """What LoadImage can choose: uploads that are there, by name."""
    rows = session.execute(
        select(ComfyFile.subfolder, ComfyFile.name)
        .join(File, (File.id == ComfyFile.file_id) & (File.tenant_id == ComfyFile.tenant_id))
        .where(ComfyFile.tenant_id == tenant_id, ComfyFile.folder == "input", File.expires_at > now)
        .order_by(ComfyFile.subfolder, ComfyFile.name)
        .limit(LISTED_MAX)
    )
    return tuple("/".join(part for part in row if part) for row in rows)


def loaded(
    session: Session, *, tenant_id: str, places: Mapping[str, Place], now: datetime
) -> dict[str, File]:
    """The pictures of LoadImage nodes, by node; what is not there is left out."""
    found = {
        node: find(session, tenant_id=tenant_id, place=place, now=now)
        for node, place in places.items()
    }
    return {node: file for node, file in found.items() if file is not None}


def forget_gone(session: Session, *, tenant_id: str, before: datetime) -> None:
    """Drop names, older than ``before``, whose picture is no more."""
    there = select(File.id).where(File.tenant_id == tenant_id)
    of_jobs = select(File.job_id).where(File.tenant_id == tenant_id, File.job_id.is_not(None))
    session.execute(
        delete(ComfyFile).where(
            ComfyFile.tenant_id == tenant_id,
            ComfyFile.created_at < before,
            (ComfyFile.file_id.is_(None) | ComfyFile.file_id.not_in(there)),
            (ComfyFile.job_id.is_(None) | ComfyFile.job_id.not_in(of_jobs)),
        )
    )


def _renamed(place: Place, number: int) -> Place:
    return Place(place.folder, place.subfolder, numbered(place.name, number))


def _point(session: Session, tenant_id: str, place: Place, **values: str | int | None) -> None:
    facts = {"file_id": None, "job_id": None, "stem": None, "number": None, **values}
    row = {
        "tenant_id": tenant_id,
        "folder": place.folder,
        "subfolder": place.subfolder,
        "name": place.name,
        **facts,
    }
    session.execute(
        insert(ComfyFile)
        .values(row)
        .on_conflict_do_update(
            index_elements=["tenant_id", "folder", "subfolder", "name"],
            set_={**facts, "created_at": func.clock_timestamp()},
        )
    )
