"""A synchronous client of the HTTP API: one method per call, typed errors, retries.

Answers are the API's JSON objects as dictionaries. Every call that creates carries an
``Idempotency-Key`` of its own, so a lost answer is asked for again without a second effect.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from app.client.errors import ConnectionFailedError, WaitTimeoutError
from app.client.events import ServerEvent, parse_events
from app.client.exchange import Call, Exchange, JsonObject
from app.client.resumable import RESUMABLE_FROM_BYTES, Progress, ResumableUpload

BATCH_ENDED = frozenset({"completed", "canceled"})
TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})
POLL_S = 0.2
BATCH_POLL_S = 0.5
PAGE_SIZE = 100
RECONNECTS = 5
RECONNECT_S = 1.0


class Client:
    """The resources of one API for the owner of one key; a context manager."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """The client closes ``exchange`` when it is closed."""
        self._exchange = exchange
        self._monotonic = monotonic
        self._pause = pause

    @classmethod
    def connect(cls, base_url: str, api_key: str) -> Self:
        """A client of the API at ``base_url``; connects with the first call."""
        return cls(Exchange(base_url, api_key))

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._exchange.close()

    def upload(self, path: Path, *, progress: Progress = lambda _done, _total: None) -> JsonObject:
        """Send a picture or video; the answer describes it and has the ``id`` for jobs.

        A large one is resumed where it broke, also by the next call after this one failed;
        ``progress`` hears of those how far they are.
        """
        if path.stat().st_size > RESUMABLE_FROM_BYTES:
            sender = ResumableUpload(self._exchange, path, progress=progress, pause=self._pause)
            return sender.send()
        key = _new_key()
        return self._exchange.send(Call("POST", "/v1/files", upload=path, idempotency_key=key))

    def quote(self, job: Mapping[str, Any]) -> JsonObject:
        """What a job would cost at most; stores nothing."""
        return self._exchange.send(Call("POST", "/v1/quotes", body=job, repeatable=True))

    def submit(self, job: Mapping[str, Any], *, idempotency_key: str | None = None) -> JsonObject:
        """Submit a job; the same ``idempotency_key`` always answers with the same job."""
        key = idempotency_key if idempotency_key is not None else _new_key()
        return self._exchange.send(Call("POST", "/v1/jobs", body=job, idempotency_key=key))

    def job(self, job_id: str) -> JsonObject:
        """A job as it stands."""
        return self._exchange.send(Call("GET", f"/v1/jobs/{job_id}"))

    def jobs(self, *, limit: int | None = None, **filters: str | None) -> Iterator[JsonObject]:
        """Jobs, newest first; filters as in ``GET /v1/jobs``: status, engine, model, ..."""
        chosen = {name: value for name, value in filters.items() if value is not None}
        return self._list("/v1/jobs", limit=limit, filters=chosen)

    def cancel(self, job_id: str) -> JsonObject:
        """Ask a job to stop; asking twice is fine."""
        return self._exchange.send(Call("POST", f"/v1/jobs/{job_id}/cancel", repeatable=True))

    def wait(
        self,
        job_id: str,
        *,
        timeout_s: float = 600.0,
        progress: Callable[[JsonObject], None] = lambda _job: None,
    ) -> JsonObject:
        """Follow a job until it has ended and is settled; ``progress`` sees every look at it.

        Raises:
            WaitTimeoutError: it takes longer; it goes on without us.
        """
        give_up_at = self._monotonic() + timeout_s
        while True:
            job = self.job(job_id)
            progress(job)
            if is_settled(job):
                return job
            if self._monotonic() > give_up_at:
                message = (
                    f"{job_id} is {job['status']} after {timeout_s:.0f} s and goes on; "
                    f"ask again with `pixelmeter job {job_id}`"
                )
                raise WaitTimeoutError(message)
            self._pause(POLL_S)

    def events(self, job_id: str) -> Iterator[ServerEvent]:
        """What happens to a job, as it happens; the last event carries the whole job.

        A stream that breaks off is continued behind the last event that came.

        Raises:
            ConnectionFailedError: no answer came, several times in a row.
            ProblemError: the API refused.
        """
        heard, failures = "", 0
        while True:
            try:
                headers = {"Last-Event-ID": heard} if heard else {}
                for event in parse_events(
                    self._exchange.lines(f"/v1/jobs/{job_id}/events", headers=headers)
                ):
                    heard, failures = event.id, 0
                    yield event
                    if event.ended is not None:
                        return
            except ConnectionFailedError:
                failures += 1
                if failures == RECONNECTS:
                    raise
            self._pause(RECONNECT_S)

    def wait_all(
        self,
        job_ids: Iterable[str],
        *,
        timeout_s: float = 3600.0,
        progress: Callable[[JsonObject], None] = lambda _job: None,
    ) -> dict[str, JsonObject]:
        """Follow several jobs at once, as ``wait`` does one; returns them by id, in order.

        Raises:
            WaitTimeoutError: one of them takes longer; all go on without us.
        """
        give_up_at = self._monotonic() + timeout_s
        done: dict[str, JsonObject | None] = dict.fromkeys(job_ids)
        while waiting := [job_id for job_id, job in done.items() if job is None]:
            for job_id in waiting:
                job = self.job(job_id)
                progress(job)
                done[job_id] = job if is_settled(job) else None
            if self._monotonic() > give_up_at:
                message = f"{', '.join(waiting)} took longer than {timeout_s:.0f} s and go on"
                raise WaitTimeoutError(message)
            if None in done.values():
                self._pause(POLL_S)
        return {job_id: job for job_id, job in done.items() if job is not None}

    def submit_batch(
        self, batch: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> JsonObject:
        """Submit many jobs as one batch, see ``POST /v1/batches``."""
        key = idempotency_key if idempotency_key is not None else _new_key()
        return self._exchange.send(Call("POST", "/v1/batches", body=batch, idempotency_key=key))

    def batch(self, batch_id: str) -> JsonObject:
        """A batch as it stands."""
        return self._exchange.send(Call("GET", f"/v1/batches/{batch_id}"))

    def batches(self, *, limit: int | None = None) -> Iterator[JsonObject]:
        """Batches, newest first."""
        return self._list("/v1/batches", limit=limit, filters={})

    def batch_items(
        self, batch_id: str, *, limit: int | None = None, status: str | None = None
    ) -> Iterator[JsonObject]:
        """Items of a batch by index, each with its result or the reason why there is none."""
        filters = {} if status is None else {"status": status}
        return self._list(f"/v1/batches/{batch_id}/items", limit=limit, filters=filters)

    def cancel_batch(self, batch_id: str) -> JsonObject:
        """Ask a batch to stop; asking twice is fine."""
        return self._exchange.send(Call("POST", f"/v1/batches/{batch_id}/cancel", repeatable=True))

    def retry_batch(self, batch_id: str) -> JsonObject:
        """Another batch of what failed in one that has ended."""
        path, key = f"/v1/batches/{batch_id}/retry", _new_key()
        return self._exchange.send(Call("POST", path, idempotency_key=key))

    def wait_batch(
        self,
        batch_id: str,
        *,
        timeout_s: float = 3600.0,
        progress: Callable[[JsonObject], None] = lambda _batch: None,
    ) -> JsonObject:
        """Follow a batch until everything in it is settled; ``progress`` sees every look at it.

        Raises:
            WaitTimeoutError: it takes longer; it goes on without us.
        """
        give_up_at = self._monotonic() + timeout_s
        while True:
            batch = self.batch(batch_id)
            progress(batch)
            if batch["status"] in BATCH_ENDED:
                return batch
            if self._monotonic() > give_up_at:
                message = f"{batch_id} is {batch['status']} after {timeout_s:.0f} s and goes on"
                raise WaitTimeoutError(message)
            self._pause(BATCH_POLL_S)

    def download(self, url: str, destination: Path) -> Path:
        """Save an output by its link; the destination appears only when it is whole."""
        self._exchange.download(url, destination)
        return destination

    def models(self) -> JsonObject:
        """Engines, models, parameters and prices."""
        return self._exchange.send(Call("GET", "/v1/models"))

    def balance(self) -> JsonObject:
        """Tokens available, held and owed, and the grants they come from."""
        return self._exchange.send(Call("GET", "/v1/balance"))

    def ledger(self, *, limit: int | None = None) -> Iterator[JsonObject]:
        """The statement of the wallet, newest first."""
        return self._list("/v1/ledger", limit=limit, filters={})

    def usage(self, **query: str) -> Iterator[JsonObject]:
        """The rows of a usage report, oldest first; the query is that of ``GET /v1/usage``."""
        return self._list("/v1/usage", limit=None, filters=query)

    def usage_file(self, destination: Path, **query: str) -> Path:
        """Save a whole usage report; ``format`` is csv or parquet."""
        return self.download(f"/v1/usage?{urlencode(query)}", destination)

    def caps(self) -> list[JsonObject]:
        """The caps in force and how full they are."""
        found: list[JsonObject] = self._exchange.send(Call("GET", "/v1/caps"))["data"]
        return found

    def set_cap(self, cap: Mapping[str, Any]) -> JsonObject:
        """Set a cap of one's own; the same scope, subject and window again changes its limit."""
        return self._exchange.send(Call("POST", "/v1/caps", body=cap, repeatable=True))

    def end_cap(self, cap_id: str) -> None:
        """Take a cap of one's own away."""
        self._exchange.send(Call("DELETE", f"/v1/caps/{cap_id}"))

    def invoices(self) -> Iterator[JsonObject]:
        """Invoices, newest month first."""
        return self._list("/v1/invoices", limit=None, filters={})

    def invoice(self, number: str) -> JsonObject:
        """One invoice with its lines; ``download`` saves its HTML or PDF."""
        return self._exchange.send(Call("GET", f"/v1/invoices/{number}"))

    def statement(self, month: str) -> JsonObject:
        """What moved the balance in a month such as 2026-10."""
        return self._exchange.send(Call("GET", f"/v1/statements/{month}"))

    def _list(
        self, path: str, *, limit: int | None, filters: Mapping[str, str]
    ) -> Iterator[JsonObject]:
        left = limit
        after: dict[str, str] = {}
        while left is None or left > 0:
            size = PAGE_SIZE if left is None else min(left, PAGE_SIZE)
            page = self._exchange.send(Call("GET", path, query={**filters, **after, "limit": size}))
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"after": page["next_cursor"]}
            left = None if left is None else left - len(page["data"])


def is_settled(job: Mapping[str, Any]) -> bool:
    """Whether a job has ended and its price is final."""
    return job["status"] in TERMINAL and job["usage"] is not None


def _new_key() -> str:
    return secrets.token_urlsafe(24)
