"""Segments on the dispatcher's way: the same queues, slots and turns as jobs; then the join."""

import pytest

from app.jobs import segments
from tests.workers.segments.cinema import Cinema
from workers.dispatch.broker import RecordingBroker
from workers.dispatch.leadership import EVERYTHING, Channel
from workers.dispatch.progress import ProgressNews
from workers.dispatcher import Dispatcher
from workers.routing import TaskName

NOTHING: frozenset[Channel] = frozenset()


class Office:
    """A dispatcher whose clock a test moves."""

    def __init__(self, cinema: Cinema) -> None:
        self.broker = RecordingBroker()
        self.now = 0.0
        self._dispatcher = Dispatcher(
            cinema.platform.sessions,
            self.broker,
            ProgressNews(cinema.services.links),
            clock=lambda: self.now,
        )

    def turn(self) -> None:
        self._dispatcher.turn(EVERYTHING)

    def tick(self) -> None:
        self.now += 1
        self._dispatcher.turn(NOTHING)

    def sent(self, task: TaskName) -> list[tuple[str, ...]]:
        return [each.args for each in self.broker.sent if each.task is task]


@pytest.fixture
def office(cinema: Cinema) -> Office:
    return Office(cinema)


def beat(cinema: Cinema, capacity: int) -> None:
    cinema.platform.change(
        "INSERT INTO worker_heartbeat (worker, capacity, engines, device)"
        " VALUES ('gpu1@node', :capacity, '[\"digest\"]', 'cpu')",
        capacity=capacity,
    )


def test_segments_fill_the_free_slots_in_order(cinema: Cinema, office: Office) -> None:
    job_id = cinema.cut()
    beat(cinema, 2)
    office.turn()
    office.turn()
    assert office.sent(TaskName.RUN_SEGMENT) == [(job_id, str(number)) for number in range(4)]
    [first, *_] = [each for each in office.broker.sent if each.task is TaskName.RUN_SEGMENT]
    assert (first.queue, first.task_id, first.priority) == ("engine.digest", f"{job_id}:0:1", 3)


def test_each_segment_counts_as_one_in_flight_of_its_tenant(cinema: Cinema, office: Office) -> None:
    job_id = cinema.cut()
    beat(cinema, 10)
    cinema.platform.change("UPDATE tenant SET max_in_flight = 3")
    office.turn()
    assert len(office.sent(TaskName.RUN_SEGMENT)) == 3
    cinema.run(job_id, 0)
    office.turn()
    assert len(office.sent(TaskName.RUN_SEGMENT)) == 4
    other = cinema.submit()
    office.turn()
    assert office.sent(TaskName.RUN_JOB) == []
    for number in (1, 2, 3, *range(4, 8)):
        cinema.run(job_id, number)
    office.turn()
    assert office.sent(TaskName.RUN_JOB) == [(other,)]


def test_a_better_class_goes_before_the_rest_of_a_long_video(
    cinema: Cinema, office: Office
) -> None:
    cinema.cut()
    urgent = cinema.submit(priority="interactive")
    beat(cinema, 1)
    office.turn()
    assert next(each for each in office.broker.sent if each.queue == "engine.digest").args == (
        urgent,
    )


def test_a_tenant_pays_its_clock_by_the_segment_and_not_for_the_whole_again(
    cinema: Cinema, office: Office
) -> None:
    job_id = cinema.submit()
    beat(cinema, 1)
    office.turn()
    clock = "SELECT virtual_time FROM dispatch_clock"
    whole = cinema.platform.scalar(clock)
    assert whole == cinema.job(job_id)["estimated_ms"] / 1000
    cinema.start(job_id)
    assert cinema.platform.scalar(clock) == 0
    office.turn()
    per_segment = cinema.segment(job_id, 0)["estimated_ms"] / 1000
    assert cinema.platform.scalar(clock) == pytest.approx(2 * per_segment)


def test_a_lost_message_of_a_segment_is_published_again(cinema: Cinema, office: Office) -> None:
    job_id = cinema.cut()
    beat(cinema, 1)
    office.turn()
    office.broker.sent.clear()
    cinema.platform.change("UPDATE segment SET dispatched_at = dispatched_at - interval '21 s'")
    office.tick()
    assert office.sent(TaskName.RUN_SEGMENT) == [(job_id, "0"), (job_id, "1")]


def test_the_join_is_sent_once_and_again_only_when_its_message_is_lost(
    cinema: Cinema, office: Office
) -> None:
    job_id = cinema.cut(segments=2)
    cinema.run_all(job_id)
    office.turn()
    office.turn()
    assert office.sent(TaskName.FINALIZE) == [(job_id,)]
    [message] = [each for each in office.broker.sent if each.task is TaskName.FINALIZE]
    assert (message.queue, message.task_id, message.priority) == ("finalize", f"{job_id}:2", 0)
    cinema.platform.change("UPDATE job SET dispatched_at = dispatched_at - interval '21 s'")
    office.tick()
    assert len(office.sent(TaskName.FINALIZE)) == 1  # it waits behind a long run
    office.broker.sent.clear()
    office.tick()
    assert office.sent(TaskName.FINALIZE) == [(job_id,)]


def test_a_broker_that_is_away_loses_no_segment_and_no_join(cinema: Cinema, office: Office) -> None:
    waiting, done = cinema.cut(), cinema.cut(segments=2)
    cinema.run_all(done)
    beat(cinema, 1)
    office.broker.is_down = True
    office.turn()
    office.broker.is_down = False
    office.tick()
    assert office.sent(TaskName.RUN_SEGMENT) == [(waiting, "0"), (waiting, "1")]
    assert office.sent(TaskName.FINALIZE) == [(done,)]


def test_the_dispatcher_rescues_lost_segments_and_ends_canceled_jobs(
    cinema: Cinema, office: Office
) -> None:
    lost, canceled = cinema.cut(), cinema.cut()
    with cinema.platform.sessions.begin() as session:
        assert segments.claim(session, job_id=lost, number=0, worker="gpu9@dead", lease_s=-1)
    cinema.platform.cancel(canceled)
    office.tick()
    assert cinema.segment(lost, 0)["status"] == "waiting"
    assert cinema.job(canceled)["status"] == "canceled"
