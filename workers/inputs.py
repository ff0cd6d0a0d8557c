"""From the ids in a job to local files for its engine."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.files.models import File
from app.files.service import media_info
from app.jobs.record import Claimed
from app.storage import Storage
from engines.errors import InvalidInputError
from engines.spec import InputFiles, MediaInfo
from workers.services import Services
from workers.storing import at_hand


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the rows say; whether the bytes are there is asked when the run begins."""

    target: str
    sources: tuple[str, ...]
    rows: dict[str, File]
    storage: Storage

    def target_info(self) -> MediaInfo | None:
        """What probing found about the target; None when its row is gone."""
        row = self.rows.get(self.target)
        return None if row is None else media_info(row)

    def files(self, folder: Path) -> InputFiles:
        """The inputs as local files, at hand for as long as ``folder`` lives.

        Raises:
            InvalidInputError: code ``input_gone``.
            ExhaustedError: ``storage_unavailable`` or ``storage_full``.
        """
        folder.mkdir(exist_ok=True)
        return InputFiles(
            target=self._path(self.target, folder),
            target_info=media_info(self.rows[self.target]),
            sources=tuple(self._path(source, folder) for source in self.sources),
            label=self.rows[self.target].name,
        )

    def digests(self, file_ids: Sequence[str]) -> list[str]:
        """The sha256 of each; the id itself of a file that is gone."""
        return [
            self.rows[file_id].sha256 if file_id in self.rows else file_id for file_id in file_ids
        ]

    def _path(self, file_id: str, folder: Path) -> Path:
        if file_id in self.rows:
            with at_hand(), contextlib.suppress(FileNotFoundError):
                return self.storage.local(self.rows[file_id].storage_key, folder)
        message = f"The input {file_id} is no longer stored. Upload it again."
        raise InvalidInputError(message, code="input_gone")


def locate(session: Session, services: Services, claims: Sequence[Claimed]) -> list[Inputs]:
    """Look the inputs of jobs up, with one query for all.

    They are kept for as long as their job has not ended, even past their expiry.
    """
    wanted = {file_id for claimed in claims for file_id in _ids(claimed)}
    rows = session.scalars(select(File).where(File.id.in_(wanted))).all()
    return [
        Inputs(
            target=claimed.inputs["target"],
            sources=tuple(claimed.inputs.get("source") or ()),
            rows={
                file.id: file
                for file in rows
                if file.tenant_id == claimed.tenant_id and file.id in _ids(claimed)
            },
            storage=services.storage,
        )
        for claimed in claims
    ]


def _ids(claimed: Claimed) -> set[str]:
    return {claimed.inputs["target"], *(claimed.inputs.get("source") or ())}
