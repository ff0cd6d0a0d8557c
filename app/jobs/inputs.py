"""From the references in a request to files of the caller's tenant."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.files.intake import Intake
from app.files.models import File
from app.files.service import media_info
from app.jobs.spec import JobInput, Ref
from engines.spec import InputMedia


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The inputs of one job."""

    target: File
    sources: tuple[File, ...]

    def media(self) -> InputMedia:
        """What probing found out about them."""
        return InputMedia(
            target=media_info(self.target),
            sources=tuple(media_info(source) for source in self.sources),
        )

    def all_ids(self) -> list[str]:
        """Target and sources."""
        return [self.target.id, *(source.id for source in self.sources)]

    def ids(self) -> dict[str, Any]:
        """As they are kept with the job."""
        return {"target": self.target.id, "source": [source.id for source in self.sources]}


def brings_files(wanted: JobInput) -> bool:
    """Whether something has to be fetched or decoded before the inputs are known."""
    return any(ref.file is None for ref in _refs(wanted))


def brought_addresses(wanted: JobInput) -> list[str]:
    """The addresses that have to be fetched."""
    return [ref.url for ref in _refs(wanted) if ref.url is not None]


def named_files(wanted: JobInput) -> list[str]:
    """The ids of uploaded files."""
    return [ref.file for ref in _refs(wanted) if ref.file is not None]


def resolve_inputs(session: Session, *, wanted: JobInput, intake: Intake) -> JobFiles:
    """Find uploaded files with at most one query; take in the others, in the order given.

    Raises:
        NotFoundError: code ``file_not_found``; unknown, expired or another tenant's.
        ProblemError: whatever fetching and probing refuse.
    """
    refs = _refs(wanted)
    known = _uploaded(session, refs, intake)
    target, *sources = (_file(ref, known, intake) for ref in refs)
    return JobFiles(target=target, sources=tuple(sources))


def _refs(wanted: JobInput) -> tuple[Ref, ...]:
    return (wanted.target, *wanted.source)


def _uploaded(session: Session, refs: tuple[Ref, ...], intake: Intake) -> dict[str, File]:
    brought = {file.id: file for file in intake.stored}
    ids = [ref.file for ref in refs if ref.file is not None and ref.file not in brought]
    known = intake.desk.known.get_many(
        session, tenant_id=intake.tenant_id, file_ids=ids, now=intake.now
    )
    return {**brought, **known}


def _file(ref: Ref, known: dict[str, File], intake: Intake) -> File:
    if ref.file is not None:
        return known[ref.file]
    if ref.url is not None:
        return intake.store_url(ref.url)
    return intake.store_data_uri(ref.data or "")
