"""Uploading a large file so that whatever breaks, only the rest is sent again (tus 1.0.0).

The key of the creation follows from the file, so the same command finds the upload of one that was
interrupted, on any machine that has the same file at the same place.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from app.client.errors import ClientError, ConflictError, ConnectionFailedError, ProblemError
from app.client.exchange import Call, Exchange, JsonObject

RESUMABLE_FROM_BYTES: Final = 16 * 1024 * 1024
PIECE_BYTES: Final = 64 * 1024 * 1024  # of one request; what broke off inside of it counts too
BLOCK_BYTES: Final = 256 * 1024
FAILURES_MAX: Final = 8  # in a row, without a byte of progress
PAUSE_S: Final = 1.0
TUS: Final = {"Tus-Resumable": "1.0.0"}
GONE: Final = frozenset({404, 410})

# Hears how many bytes of how many the server has or is being sent.
Progress = Callable[[int, int], None]


class ResumableUpload:
    """One file on its way."""

    def __init__(
        self,
        exchange: Exchange,
        path: Path,
        *,
        progress: Progress,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._exchange = exchange
        self._path = path
        self._size = path.stat().st_size
        self._progress = progress
        self._pause = pause

    def send(self) -> JsonObject:
        """Begin or go on, until the file is there; returns it.

        Raises:
            ProblemError: the file or the upload is refused.
            ConnectionFailedError: there is no way through.
        """
        try:
            return self._sent(self._begin(self._lasting_key()))
        except ProblemError as error:
            if error.status not in GONE:
                raise
        return self._sent(self._begin(secrets.token_urlsafe(24)))  # the earlier one has expired

    def _sent(self, upload: JsonObject) -> JsonObject:
        address = f"/v1/uploads/{upload['id']}"
        failures, farthest = 0, -1
        while True:
            try:
                upload = self._exchange.send(Call("GET", address))
                if upload["received"] > farthest:
                    failures, farthest = 0, upload["received"]
                if upload["status"] == "finished":
                    self._progress(self._size, self._size)
                    return self._exchange.send(Call("GET", f"/v1/files/{upload['file']}"))
                self._patch(address, upload["received"])
            except ClientError as error:
                failures += 1
                if failures > FAILURES_MAX or not _may_pass(error):
                    raise
                self._pause(PAUSE_S)

    def _begin(self, key: str) -> JsonObject:
        label = base64.b64encode(self._path.name.encode()).decode()
        headers = {
            **TUS,
            "Upload-Length": str(self._size),
            "Upload-Metadata": f"filename {label}",
        }
        call = Call("POST", "/v1/uploads", headers=headers, idempotency_key=key)
        return self._exchange.send(call)

    def _patch(self, address: str, offset: int) -> None:
        length = min(PIECE_BYTES, self._size - offset)
        headers = {
            **TUS,
            "Upload-Offset": str(offset),
            "Content-Length": str(length),
            "Content-Type": "application/offset+octet-stream",
        }
        content = self._blocks(offset, length)
        self._exchange.send(Call("PATCH", address, headers=headers, content=content))

    def _blocks(self, offset: int, length: int) -> Iterator[bytes]:
        with self._path.open("rb") as stream:
            stream.seek(offset)
            while length and (block := stream.read(min(BLOCK_BYTES, length))):
                yield block
                length -= len(block)
                self._progress(stream.tell(), self._size)

    def _lasting_key(self) -> str:
        """The same for the same file, as far as its name, size and last change tell."""
        facts = f"{self._path.resolve()}\n{self._size}\n{self._path.stat().st_mtime_ns}"
        return f"upload-{hashlib.sha256(facts.encode()).hexdigest()}"


def _may_pass(error: ClientError) -> bool:
    """Whether another try may go through: a conflict is the earlier try that still hangs."""
    if isinstance(error, ProblemError):
        return error.retryable or isinstance(error, ConflictError)
    return isinstance(error, ConnectionFailedError)
