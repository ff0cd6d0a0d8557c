"""Fetching one weights file over HTTP so that a cut costs what is missing, not what arrived.

What has arrived lies beside its final name as ``.NAME.SHA.part``, across tries and across
processes. It becomes the file only when size and sha256 are those that were declared.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from engines.errors import EngineError, ExhaustedError
from engines.manifest import WeightsFile

Progress = Callable[[str, int, int], None]  # file name, bytes done, bytes in all

_CHUNK_BYTES = 1 << 20
_SILENCE_S = 30.0  # a source that says nothing for this long is given up
_TRIES_WITHOUT_A_BYTE = 2


class WeightsError(EngineError):
    """Raised when weights are missing, wrong or cannot be fetched; the message says the way out."""

    code = "weights_missing"


class _CutError(Exception):
    """Raised when an answer ended before its end; what arrived is kept."""


def download(url: str, file: WeightsFile, target: Path, progress: Progress | None = None) -> None:
    """Fetch ``file`` into ``target``, going on where an earlier try was cut.

    A second process that wants the same file waits for the first and then finds it.

    Raises:
        WeightsError: code ``weights_corrupt`` (other bytes than declared; nothing is kept),
            ``weights_incomplete`` (cut again and again; what arrived is kept) or
            ``weights_missing`` (nobody answers, or not with the file).
        ExhaustedError: no room for the file.
    """
    part = target.with_name(f".{target.name}.{file.sha256[:12]}.part")
    with _locked(part) as draft:
        if target.is_file() and _sha256(target) == file.sha256:
            part.unlink(missing_ok=True)
            return
        is_joined = _fill(draft, url, file, progress)
        if is_joined and not _is_whole(part, file):  # the pieces may be of different files
            draft.truncate(0)
            _fill(draft, url, file, progress)
        if not _is_whole(part, file):
            part.unlink(missing_ok=True)
            raise wrong_file(url, file)
        os.fsync(draft.fileno())
        part.chmod(0o644)
        part.replace(target)


def wrong_file(origin: str, file: WeightsFile) -> WeightsError:
    """The error for a source that has other bytes than were declared."""
    message = (
        f"{origin} gave another file than {file.file} (expected {file.bytes} bytes "
        f"with sha256 {file.sha256[:12]}...); nothing was kept. Try again, or use "
        "another PIXELMETER_MODEL_MIRROR."
    )
    return WeightsError(message, code="weights_corrupt")


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """The part, for this process alone; opened anew when its last owner finished or dropped it."""
    while True:
        with part.open("ab") as draft:
            fcntl.flock(draft, fcntl.LOCK_EX)
            if part.exists() and part.stat().st_ino == os.fstat(draft.fileno()).st_ino:
                yield draft
                return


def _fill(draft: BinaryIO, url: str, file: WeightsFile, progress: Progress | None) -> bool:
    """Append until the source says that this is all, trying again after each cut.

    Returns whether what is there now was put together from several answers.
    """
    idle, is_joined = 0, _size(draft) > 0
    while True:
        before = _size(draft)
        try:
            _append(draft, url, file, progress)
        except _CutError as cut:
            is_joined = True
            idle = 0 if _size(draft) > before else idle + 1
            if idle >= _TRIES_WITHOUT_A_BYTE:
                raise _incomplete(url, file, _size(draft), cut) from cut
        else:
            return is_joined


def _append(draft: BinaryIO, url: str, file: WeightsFile, progress: Progress | None) -> None:
    done = _size(draft)
    if done >= file.bytes:
        return
    with _answer(url, file, start=done) as answer:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:  # the source starts from the beginning
            draft.truncate(0)
            done = 0
        expected = done + int(answer.headers.get("Content-Length") or file.bytes - done)
        while done <= file.bytes and (chunk := _read(answer)):
            done += len(chunk)
            _write(draft, chunk)
            if progress is not None:
                progress(file.file, min(done, file.bytes), file.bytes)
    if done < min(expected, file.bytes):
        message = f"the answer ended at {done} of {expected} bytes"
        raise _CutError(message)


def _read(answer: HTTPResponse) -> bytes:
    try:
        return answer.read(_CHUNK_BYTES)
    except (HTTPException, TimeoutError, OSError) as error:
        raise _CutError(str(error)) from error


def _write(draft: BinaryIO, chunk: bytes) -> None:
    try:
        draft.write(chunk)
        draft.flush()
    except OSError as error:
        Path(draft.name).unlink(missing_ok=True)  # do not keep a full disk full
        raise no_room(Path(draft.name).parent, error) from error


def no_room(folder: Path, error: OSError) -> ExhaustedError:
    """The error for a store that cannot take a file."""
    return ExhaustedError(f"cannot write weights into {folder}: {error.strerror}")


@contextmanager
def _answer(url: str, file: WeightsFile, *, start: int) -> Iterator[HTTPResponse]:
    headers = {"User-Agent": "pixelmeter"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = Request(url, headers=headers)  # noqa: S310 - the caller checked the scheme
    try:
        answer = cast(HTTPResponse, urlopen(request, timeout=_SILENCE_S))  # noqa: S310
    except HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            error.close()
            with _answer(url, file, start=0) as whole:
                yield whole
            return
        raise _unreachable(url, file, error) from error
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        if start:
            raise _CutError(str(error)) from error
        raise _unreachable(url, file, error) from error
    with answer:
        yield answer


def _unreachable(url: str, file: WeightsFile, error: Exception) -> WeightsError:
    message = (
        f"cannot fetch {file.file} from {url}: {error}. Check the network, or set "
        "PIXELMETER_MODEL_MIRROR to a folder or URL that has it."
    )
    return WeightsError(message)


def _incomplete(url: str, file: WeightsFile, done: int, cut: Exception) -> WeightsError:
    message = (
        f"{url} was cut off at {done} of {file.bytes} bytes ({cut}). What arrived is kept: run the "
        "same command again and it goes on from there."
    )
    return WeightsError(message, code="weights_incomplete")


def _is_whole(part: Path, file: WeightsFile) -> bool:
    return part.stat().st_size == file.bytes and _sha256(part) == file.sha256


def _size(draft: BinaryIO) -> int:
    return os.fstat(draft.fileno()).st_size


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
