"""Results of segments in storage, under names that follow from what was computed.

The object ``{number}-{params_hash}`` is a note: the data, what was measured, and which objects the
files are, with their digests. It is written last, so where it is, the result is whole; a retry
that finds it computes nothing. Files belong to the attempt that made them, so an attempt that
lost its lease never touches those of the next one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from app.files.service import sha256_of
from app.jobs.segment_record import Part
from app.jobs.usage import read_report, report_json
from app.storage import Storage, StorageUnavailableError
from engines.spec import EngineResult, OutputFile, UsageReport


def key_of(job_id: str, name: str) -> str:
    """The storage key of a named object of a job: the same name, the same key."""
    digest = hashlib.sha256(f"segment of {job_id}/{name}".encode()).hexdigest()[:32]
    return f"{digest[:2]}/{digest}"


class PartStore:
    """The stored results of one job's segments."""

    def __init__(self, storage: Storage, job_id: str) -> None:
        self._storage = storage
        self._job_id = job_id

    def keep(self, name: str, result: EngineResult, *, attempt: int, folder: Path) -> Part:
        """Store a result: its files, then the note."""
        files = [
            self._put(f"{name}.{attempt}.{place}", file) for place, file in enumerate(result.files)
        ]
        note = folder / f"{name}.{attempt}.json"
        kept: dict[str, Any] = {
            "made_by": attempt,
            "files": files,
            "data": dict(result.data),
            "usage": report_json(result.usage),
        }
        note.write_text(json.dumps(kept, allow_nan=False), encoding="utf-8")
        self._storage.put_file(note, key=key_of(self._job_id, name))
        note.unlink()
        return Part(files, kept["data"], result.usage, attempt)

    def find(self, name: str, *, folder: Path) -> Part | None:
        """The result that an earlier attempt stored, if every byte of it is there.

        ``folder`` takes copies where the storage is elsewhere.
        """
        folder.mkdir(exist_ok=True)
        try:
            with self._storage.open(key_of(self._job_id, name)) as stream:
                kept = json.load(stream)
            if not all(self._is_whole(file, folder) for file in kept["files"]):
                return None
        except (FileNotFoundError, ValueError, StorageUnavailableError):
            return None  # then it is computed
        return Part(kept["files"], kept["data"], read_report(kept["usage"]), kept["made_by"])

    def missing(self, files: Sequence[Mapping[str, Any]]) -> bool:
        """Whether any of these objects is gone or has another length."""
        return any(self._storage.size(file["key"]) != file["bytes"] for file in files)

    def result(
        self,
        files: Sequence[Mapping[str, Any]],
        data: Mapping[str, Any],
        usage: UsageReport,
        *,
        folder: Path,
    ) -> EngineResult:
        """A kept result as the engine gave it; its files are in ``folder``, not to be changed."""
        objects = folder / "objects"
        objects.mkdir(parents=True)
        outputs = []
        for file in files:
            path = folder / file["file"]
            path.symlink_to(self._storage.local(file["key"], objects))
            outputs.append(OutputFile(path, file["media_type"], file["name"]))
        return EngineResult(tuple(outputs), data, usage)

    def drop(self, name: str, *, attempts: Sequence[int]) -> None:
        """Delete the note and whatever those attempts stored, told to the database or not."""
        self._storage.delete(key_of(self._job_id, name))
        for attempt in attempts:
            self.drop_files(name, attempt=attempt)

    def drop_files(self, name: str, *, attempt: int) -> None:
        """Delete the files of one attempt, the last one first: what is left can be found again."""
        for key in reversed(list(self._keys(name, attempt))):
            self._storage.delete(key)

    def _keys(self, name: str, attempt: int) -> Iterator[str]:
        """They are stored one after the other: the first that is not there was never begun."""
        for place in count():
            key = key_of(self._job_id, f"{name}.{attempt}.{place}")
            if self._storage.size(key) is None:
                return
            yield key

    def _put(self, name: str, file: OutputFile) -> dict[str, Any]:
        key = self._storage.put_file(file.path, key=key_of(self._job_id, name))
        return {
            "key": key,
            "file": file.path.name,
            "name": file.name,
            "media_type": file.media_type,
            "bytes": file.path.stat().st_size,
            "sha256": sha256_of(file.path),
        }

    def _is_whole(self, file: Mapping[str, Any], folder: Path) -> bool:
        if self._storage.size(file["key"]) != file["bytes"]:
            return False
        return bool(sha256_of(self._storage.local(file["key"], folder)) == file["sha256"])
