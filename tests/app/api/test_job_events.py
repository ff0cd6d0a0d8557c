"""The event stream over the test client: what is told, continued, ended and refused."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api import job_events
from app.api.services import Services
from app.api.streaming import StreamPlaces
from app.errors import RateLimitedError, UnavailableError
from app.jobs.lifecycle import advance, claim, finish, mark_all_settled
from app.jobs.record import Claimed, Progress
from app.jobs.states import JobStatus
from billing.settlement import settle
from tests.app.api.callers import Caller, job_body
from tests.app.jobs.shop import usage_report


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "LOOK_EVERY_S", 0.02)


@pytest.fixture
def job_id(caller: Caller, file_id: str) -> str:
    answer = caller.post("/v1/jobs", json=job_body(file_id))
    assert answer.status_code == 202, answer.text
    return str(answer.json["id"])


class Worker:
    """What a worker does to the job, one transaction each."""

    def __init__(self, sessions: sessionmaker[Session], job_id: str) -> None:
        self.sessions = sessions
        self.job_id = job_id
        self.run: Claimed | None = None

    def start(self) -> None:
        with self.sessions.begin() as session:
            self.run = claim(session, job_id=self.job_id, worker="w", lease_s=15)
            assert self.run is not None
            advance(session, job_id=self.job_id, attempt=1, to=JobStatus.PROCESSING)

    def tell(self, done: int, total: int) -> None:
        with self.sessions.begin() as session:
            session.execute(
                text(
                    "UPDATE job SET progress_done = :done, progress_total = :total,"
                    " progress_unit = 'frames', progress_fps = 10 WHERE id = :id"
                ),
                {"done": done, "total": total, "id": self.job_id},
            )

    def succeed(self) -> None:
        with self.sessions.begin() as session:
            advance(session, job_id=self.job_id, attempt=1, to=JobStatus.FINALIZING)
            finish(
                session,
                job_id=self.job_id,
                attempt=1,
                outcome=JobStatus.SUCCEEDED,
                output={"files": [], "data": {"predictions": []}},
                usage=usage_report(),
                progress=Progress(10, 10, "frames"),
            )

    def settle(self) -> None:
        with self.sessions.begin() as session:
            settled = settle(session, job=self.job_id)
            assert settled is not None
            mark_all_settled(session, settlements=[settled])

    def end(self) -> None:
        self.start()
        self.succeed()
        self.settle()


@pytest.fixture
def worker(sessions: sessionmaker[Session], job_id: str) -> Worker:
    return Worker(sessions, job_id)


def read(answer: Any) -> Iterator[dict[str, Any]]:
    """The events of a response as they come, comments and the retry field left out."""
    for piece in answer.iter_encoded():
        fields = dict(line.split(": ", 1) for line in piece.decode().split("\n") if ": " in line)
        if "event" in fields:
            yield {
                "id": fields["id"],
                "event": fields["event"],
                "data": json.loads(fields["data"]),
            }


def test_a_job_is_followed_from_the_queue_to_its_price(
    caller: Caller, job_id: str, worker: Worker
) -> None:
    answer = caller.get(f"/v1/jobs/{job_id}/events")
    assert answer.status_code == 200
    assert answer.content_type == "text/event-stream"
    events = read(answer)
    assert next(events) == {
        "id": "0",
        "event": "status",
        "data": {
            "status": "queued",
            "attempt": 0,
            "at": caller.get(f"/v1/jobs/{job_id}").json["created_at"],
        },
    }
    assert next(events)["data"] == {"queue_position": 1, "attempt": 0}
    worker.start()
    assert [next(events)["data"]["status"] for _ in range(2)] == ["starting", "processing"]
    worker.tell(5, 10)
    progress = next(events)
    assert (progress["id"], progress["event"]) == ("12.5", "progress")
    assert progress["data"]["percent"] == 50.0
    assert progress["data"]["remaining_s"] == 0.5
    worker.succeed()
    worker.settle()
    last = list(events)[-1]
    assert (last["id"], last["event"]) == ("19", "status")
    assert last["data"]["job"]["status"] == "succeeded"
    assert last["data"]["job"]["usage"]["tokens"] > 0


def test_a_stream_that_broke_goes_on_behind_its_last_event(
    caller: Caller, job_id: str, worker: Worker
) -> None:
    worker.start()
    worker.tell(5, 10)
    stream = caller.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "12"})
    assert next(read(stream))["id"] == "12.5"
    stream.close()


def test_a_settled_job_is_told_whole_and_then_there_is_nothing_more(
    caller: Caller, job_id: str, worker: Worker
) -> None:
    worker.end()
    events = list(read(caller.get(f"/v1/jobs/{job_id}/events")))
    assert [e["id"] for e in events] == ["0", "11", "19"]
    after = caller.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "19"})
    assert (after.status_code, after.data) == (204, b"")


def test_a_quiet_stream_says_that_it_is_alive(
    caller: Caller, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "QUIET_S", 0.0)
    pieces = caller.get(f"/v1/jobs/{job_id}/events").iter_encoded()
    assert any(next(pieces) == b": still here\n\n" for _ in range(5))


def test_a_stranger_sees_no_stream(stranger: Caller, job_id: str) -> None:
    answer = stranger.get(f"/v1/jobs/{job_id}/events")
    assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")


def test_a_closed_stream_gives_its_place_back(caller: Caller, job_id: str, kit: Services) -> None:
    kit.streams.streams_max = 1
    first = caller.get(f"/v1/jobs/{job_id}/events")
    refused = caller.get(f"/v1/jobs/{job_id}/events")
    assert (refused.status_code, refused.json["code"]) == (503, "overloaded")
    assert refused.headers["Retry-After"] == "5"
    first.close()
    assert caller.get(f"/v1/jobs/{job_id}/events").status_code == 200


def test_a_server_that_shuts_down_ends_its_streams(
    caller: Caller, job_id: str, kit: Services
) -> None:
    stopping = threading.Event()
    kit.streams.is_serving = lambda: not stopping.is_set()
    events = read(caller.get(f"/v1/jobs/{job_id}/events"))
    next(events)
    stopping.set()
    assert [e["event"] for e in events] in ([], ["progress"])


def test_one_tenant_cannot_take_every_place() -> None:
    places = StreamPlaces(streams_max=3, per_tenant_max=2)
    places.take("a")
    places.take("a")
    with pytest.raises(RateLimitedError):
        places.take("a")
    places.take("b")
    with pytest.raises(UnavailableError):
        places.take("c")
    places.give_back("a")
    places.take("c")
