"""Weights files on this machine: find them, trust them only by their sha256, fetch them.

Owns the store folder. A file is written beside its final name, synced and renamed, so a reader
sees the whole file or none. A folder given as mirror is used in place and never written.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from engines.download import Progress, WeightsError, download, no_room, wrong_file
from engines.manifest import ModelVersion, WeightsFile

__all__ = ["Progress", "WeightsError", "WeightsStore", "missing_weights"]

_CHUNK_BYTES = 1 << 20


class WeightsStore:
    """The files of one store folder and, where it is a folder, of the mirror.

    Args:
        folder: where fetched and added files live; made when first written to.
        mirror: a folder or an http(s) URL that holds files under their manifest names.
    """

    def __init__(self, folder: Path, *, mirror: str | None = None) -> None:
        self.folder = folder
        self._mirror_url = mirror if mirror and _is_url(mirror) else None
        is_folder = mirror and self._mirror_url is None
        self._mirror_folder = Path(mirror).resolve() if mirror and is_folder else None
        # sha256 by (path, size, mtime): a file is hashed once per process unless it changes
        self._hashes: dict[tuple[str, int, int], str] = {}

    def find(self, file: WeightsFile) -> Path | None:
        """A present file of the right size, not yet hashed; the store goes before the mirror."""
        for path in self._places(file):
            if path.is_file() and path.stat().st_size == file.bytes:
                return path
        return None

    def verified(self, file: WeightsFile) -> Path | None:
        """A present file whose sha256 was checked; raises ``WeightsError`` when it is wrong."""
        wrong: Path | None = None
        for path in self._places(file):
            if not path.is_file():
                continue
            if self.sha256(path) == file.sha256:
                return path
            wrong = path
        if wrong is None:
            return None
        message = (
            f"{wrong} is not the file that was registered (sha256 {self.sha256(wrong)[:12]}..., "
            f"expected {file.sha256[:12]}...); remove it and fetch it again"
        )
        raise WeightsError(message, code="weights_corrupt")

    def is_offered(self, file: WeightsFile) -> bool:
        """Whether ``fetch`` has somewhere to fetch a file from; nobody is asked."""
        is_mirrored = (
            self._mirror_folder is not None and (self._mirror_folder / file.file).is_file()
        )
        return is_mirrored or self._mirror_url is not None or file.url is not None

    def fetch(self, file: WeightsFile, progress: Progress | None = None) -> Path:
        """Bring one file into the store, from the mirror or else its own URL.

        Raises:
            WeightsError: nobody has the file, or what they have has another sha256.
        """
        target = self.folder / file.file
        if target.is_file() and self.sha256(target) == file.sha256:
            return target
        mirrored = self._mirror_folder / file.file if self._mirror_folder else None
        if mirrored is not None and mirrored.is_file():
            self._copy(mirrored, target, file=file, progress=progress)
        else:
            address = self._address(file)
            self._make_folder()
            download(address, file, target, progress)
        return target

    def adopt(self, path: Path, *, name: str) -> Path:
        """Copy an operator's file into the store under a name."""
        target = self.folder / name
        self._make_folder(target.parent)
        with path.open("rb") as stream, self._draft(target) as draft:
            shutil.copyfileobj(stream, draft, _CHUNK_BYTES)
        return target

    def sha256(self, path: Path) -> str:
        """Of the whole file, remembered while size and time of change stay the same."""
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._hashes:
            with path.open("rb") as stream:
                self._hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._hashes[key]

    def _places(self, file: WeightsFile) -> tuple[Path, ...]:
        folders = (self.folder, self._mirror_folder)
        return tuple(folder / file.file for folder in folders if folder is not None)

    def _address(self, file: WeightsFile) -> str:
        """Where a file is offered over HTTP: the mirror, or else its own address."""
        url = f"{self._mirror_url.rstrip('/')}/{file.file}" if self._mirror_url else file.url
        if url is None:
            message = (
                f"nobody offers {file.file} for download ({file.licence}, by {file.source}). "
                "Set PIXELMETER_MODEL_MIRROR to a folder or URL that has it, or register your own "
                "file with `pixelmeter models add`."
            )
            raise WeightsError(message)
        if not _is_url(url):
            message = f"{file.file}: only http and https addresses are fetched, not {url}"
            raise WeightsError(message)
        return url

    def _copy(
        self, source: Path, target: Path, *, file: WeightsFile, progress: Progress | None
    ) -> None:
        digest, done = hashlib.sha256(), 0
        with source.open("rb") as stream, self._draft(target) as draft:
            while chunk := stream.read(_CHUNK_BYTES):
                done += len(chunk)
                digest.update(chunk)
                _store(draft, chunk)
                if progress is not None:
                    progress(file.file, done, file.bytes)
            if digest.hexdigest() != file.sha256:
                raise wrong_file(str(source), file)

    def _make_folder(self, folder: Path | None = None) -> None:
        folder = folder or self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(folder, error) from error

    @contextmanager
    def _draft(self, target: Path) -> Iterator[BinaryIO]:
        """A file that becomes ``target`` when the block ends well and vanishes when not."""
        self._make_folder()
        try:
            handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=self.folder)
        except OSError as error:
            raise no_room(self.folder, error) from error
        draft = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            draft.chmod(0o644)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def missing_weights(model: ModelVersion, file: WeightsFile | None) -> WeightsError:
    """The error that says which file is missing, whose licence it has and how to get it."""
    if file is None:
        if not model.needs_weights:
            message = f"{model.id} has no such weights file; ask its manifest"
            return WeightsError(message)
        message = (
            f"{model.id} runs on weights that you bring: export them to ONNX, then "
            f"`pixelmeter models add {model.name} FILE --licence NAME`."
        )
    elif file in model.extras:
        message = (
            f"{model.id} runs without {file.file} ({file.licence}, by {file.source}) and better "
            f"with it. Fetch it with `pixelmeter models pull {model.name}`."
        )
    else:
        message = (
            f"{model.id} needs {file.file} ({file.licence}, by {file.source}), which is not on "
            f"this machine. Fetch it with `pixelmeter models pull {model.name}`."
        )
    return WeightsError(message)


def _store(draft: BinaryIO, chunk: bytes) -> None:
    try:
        draft.write(chunk)
    except OSError as error:
        raise no_room(Path(draft.name).parent, error) from error


def _is_url(mirror: str) -> bool:
    return urlsplit(mirror).scheme in {"http", "https"}
