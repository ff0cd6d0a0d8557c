"""One call and its answer: the key, the retries, and errors with a type."""

import io
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import httpx

from app.client.errors import ClientError, ConnectionFailedError, problem_of
from app.client.retries import RETRIED_STATUSES, RetryPolicy, may_repeat

JsonObject = dict[str, Any]

TIMEOUT = httpx.Timeout(60.0, connect=5.0)


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it may be sent more than once."""

    method: str
    path: str
    query: Mapping[str, str | int] | None = None
    body: Mapping[str, Any] | None = None
    upload: Path | None = None  # sent as the multipart part "file"
    fields: Mapping[str, str] | None = None  # texts beside the upload
    sent: Callable[[int], None] | None = None  # hears how many bytes of the upload have gone
    headers: Mapping[str, str] | None = None
    content: Iterable[bytes] | None = None  # the body itself; sent once only
    idempotency_key: str | None = None
    repeatable: bool = False  # sending it twice does no more than sending it once


class Exchange:
    """Sends calls to one API with one key, again where that is safe."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        retries: RetryPolicy | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """``transport`` replaces the network in tests."""
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": "pixelmeter-client"},
            timeout=TIMEOUT,
            transport=transport,
            follow_redirects=False,
        )
        self._retries = retries if retries is not None else RetryPolicy()
        self._pause = pause

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call) -> JsonObject:
        """Send until there is an answer that a retry would not change.

        Raises:
            ConnectionFailedError: no answer came, after every retry that is safe.
            ProblemError: the API refused.
        """
        repeatable = call.repeatable or may_repeat(
            call.method, idempotency_key=call.idempotency_key
        )
        attempts = self._retries.attempts if repeatable else 1
        for attempt in range(1, attempts):
            answer = self._try(call)
            if answer is not None and answer.status_code not in RETRIED_STATUSES:
                return _document(answer)
            self._pause(self._retries.delay_before(attempt + 1, jitter=_jitter()))
        try:
            return _document(self._send_once(call))
        except httpx.TransportError as error:
            raise self._no_answer(error) from error

    def download(self, url: str, destination: Path) -> None:
        """Save what a URL holds; a half file never has the final name.

        Raises:
            ConnectionFailedError: the answer did not come, or not whole.
            ProblemError: the API refused.
        """
        fresh = destination.with_name(f".{destination.name}.part")
        try:
            with self._http.stream("GET", url) as answer, fresh.open("wb") as file:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer)
                for piece in answer.iter_bytes():
                    file.write(piece)
            fresh.replace(destination)
        except httpx.TransportError as error:
            raise self._no_answer(error) from error
        finally:
            fresh.unlink(missing_ok=True)

    def lines(self, path: str, *, headers: Mapping[str, str]) -> Iterator[str]:
        """The lines of an answer that goes on for as long as there is something to tell.

        Raises:
            ConnectionFailedError: there was no answer, or it broke off.
            ProblemError: the API refused.
        """
        try:
            with self._http.stream("GET", path, headers=dict(headers)) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer)
                yield from answer.iter_lines()
        except httpx.TransportError as error:
            raise self._no_answer(error) from error

    def _try(self, call: Call) -> httpx.Response | None:
        try:
            return self._send_once(call)
        except httpx.TransportError:
            return None

    def _send_once(self, call: Call) -> httpx.Response:
        headers = dict(call.headers or {})
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        with _opened(call.upload, call.sent) as files:
            return self._http.request(
                call.method,
                call.path,
                params=call.query,
                json=call.body,
                content=call.content,
                data=call.fields,
                files=files,
                headers=headers,
            )

    def _no_answer(self, error: httpx.TransportError) -> ConnectionFailedError:
        reason = str(error) or type(error).__name__
        return ConnectionFailedError(
            f"No answer from {self.base_url}: {reason}. Is Pixelmeter running? "
            "`pixelmeter status` tells, `pixelmeter up --detach` starts it, "
            "PIXELMETER_URL names another address."
        )


class _Watched(io.FileIO):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, sent: Callable[[int], None]) -> None:
        super().__init__(path)
        self._sent = sent

    def read(self, size: int | None = -1, /) -> bytes:
        content: bytes = super().read(-1 if size is None else size) or b""
        self._sent(self.tell())
        return content


@contextmanager
def _opened(
    path: Path | None, sent: Callable[[int], None] | None
) -> Iterator[dict[str, tuple[str, IO[bytes]]] | None]:
    if path is None:
        yield None
        return
    with path.open("rb") if sent is None else _Watched(path, sent) as stream:
        yield {"file": (path.name, cast(IO[bytes], stream))}


def _document(answer: httpx.Response) -> JsonObject:
    if not answer.is_success:
        raise _refusal(answer)
    document: JsonObject = answer.json() if answer.content else {}
    return document


def _refusal(answer: httpx.Response) -> ClientError:
    try:
        document = answer.json()
    except ValueError:
        document = None
    return problem_of(
        answer.status_code,
        document if isinstance(document, Mapping) else {},
        request_id=answer.headers.get("X-Request-Id"),
    )


def _jitter() -> float:
    return secrets.randbelow(1000) / 1000
