"""The dispatcher's duties on a real database, with a broker in memory that can be away."""

import threading
import time
from typing import Any

import pytest

from tests.workers.miniature import Platform, environment_of
from workers.dispatch.broker import BACKOFF_MAX_S, BACKOFF_MIN_S, Outage, RecordingBroker
from workers.dispatch.leadership import EVERYTHING, Channel, plain_url, try_to_lead
from workers.dispatch.progress import ProgressNews
from workers.dispatcher import Dispatcher, lead
from workers.routing import TaskName

NOTHING: frozenset[Channel] = frozenset()


@pytest.fixture
def broker() -> RecordingBroker:
    return RecordingBroker()


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def dispatcher(platform: Platform, broker: RecordingBroker, clock: list[float]) -> Dispatcher:
    news = ProgressNews(platform.services.links)
    return Dispatcher(platform.sessions, broker, news, clock=lambda: clock[0])


def beat(platform: Platform, worker: str = "gpu1@test", capacity: int = 1) -> None:
    platform.change(
        "INSERT INTO worker_heartbeat (worker, capacity, engines, device)"
        " VALUES (:worker, :capacity, '[\"detect\"]', 'cpu')",
        worker=worker,
        capacity=capacity,
    )


def jobs_of(broker: RecordingBroker) -> list[str]:
    return [each.args[0] for each in broker.sent if each.task is TaskName.RUN_JOB]


def tasks_of(broker: RecordingBroker, task: TaskName) -> int:
    return sum(each.task is task for each in broker.sent)


def test_nothing_is_published_without_a_living_worker(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker
) -> None:
    beat(platform)
    platform.change("UPDATE worker_heartbeat SET seen_at = clock_timestamp() - interval '1 min'")
    platform.submit()
    dispatcher.turn(EVERYTHING)
    assert jobs_of(broker) == []


def test_two_messages_per_slot_are_out_and_no_more(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker
) -> None:
    beat(platform)
    submitted = [platform.submit() for _ in range(4)]
    dispatcher.turn(EVERYTHING)
    dispatcher.turn(EVERYTHING)
    assert jobs_of(broker) == submitted[:2]
    assert platform.job(submitted[0])["dispatched_at"] is not None
    assert platform.job(submitted[2])["dispatched_at"] is None


def test_a_message_says_who_where_and_how_urgent(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker
) -> None:
    beat(platform)
    job_id = platform.submit(priority="bulk", max_runtime_s=30)
    dispatcher.turn(frozenset({Channel.JOBS}))
    message = next(each for each in broker.sent if each.args == (job_id,))
    assert message.queue == "engine.detect"
    assert (message.task_id, message.priority) == (f"{job_id}:1", 6)
    assert message.time_limit_s == 90


def test_a_broker_that_is_away_loses_nothing(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker, clock: list[float]
) -> None:
    beat(platform)
    broker.is_down = True
    job_id = platform.submit()
    dispatcher.turn(EVERYTHING)
    assert platform.job(job_id)["dispatched_at"] is None
    broker.is_down = False
    clock[0] += 1
    dispatcher.turn(NOTHING)
    assert jobs_of(broker) == [job_id]


def test_a_message_the_broker_lost_is_published_again(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker, clock: list[float]
) -> None:
    beat(platform)
    job_id = platform.submit()
    dispatcher.turn(EVERYTHING)
    broker.sent.clear()
    clock[0] += 1
    dispatcher.turn(NOTHING)
    assert jobs_of(broker) == []
    platform.change("UPDATE job SET dispatched_at = clock_timestamp() - interval '21 s'")
    clock[0] += 1
    dispatcher.turn(NOTHING)
    assert jobs_of(broker) == [job_id]


def test_a_message_that_waits_behind_a_long_job_is_left_alone(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker, clock: list[float]
) -> None:
    beat(platform)
    platform.submit()
    dispatcher.turn(EVERYTHING)
    platform.change("UPDATE job SET dispatched_at = clock_timestamp() - interval '1 hour'")
    clock[0] += 1
    dispatcher.turn(NOTHING)
    assert len(jobs_of(broker)) == 1


def test_an_expired_lease_is_rescued_and_dispatched_in_the_same_turn(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker
) -> None:
    beat(platform)
    job_id = platform.submit()
    platform.change(
        "UPDATE job SET status = 'starting', attempt = 1, lease_owner = 'dead',"
        " lease_expires_at = clock_timestamp() - interval '1 s'"
    )
    dispatcher.turn(NOTHING)
    message = next(each for each in broker.sent if each.task is TaskName.RUN_JOB)
    assert (message.args, message.task_id) == ((job_id,), f"{job_id}:2")


def test_a_missed_start_deadline_ends_a_job_and_hints_its_settlement(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker
) -> None:
    job_id = platform.submit(start_deadline_s=1)
    platform.change("UPDATE job SET start_deadline_at = clock_timestamp()")
    dispatcher.turn(NOTHING)
    assert platform.job(job_id)["status"] == "expired"
    assert tasks_of(broker, TaskName.SETTLE) == 1


def test_many_ended_jobs_need_one_waiting_hint(
    dispatcher: Dispatcher, broker: RecordingBroker
) -> None:
    for _ in range(5):
        dispatcher.turn(frozenset({Channel.USAGE}))
    assert tasks_of(broker, TaskName.SETTLE) == 1
    broker.sent.clear()
    dispatcher.turn(frozenset({Channel.USAGE}))
    assert tasks_of(broker, TaskName.SETTLE) == 1


def test_due_deliveries_are_hinted_once_each(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker
) -> None:
    platform.change(
        "INSERT INTO webhook_event (id, tenant_id, type, sequence, body)"
        " VALUES ('evt_1', :tenant, 'test', 1, '{}')",
        tenant=platform.tenant,
    )
    for number in range(3):
        platform.change(
            "INSERT INTO webhook_delivery (id, event_id, tenant_id, lane, url, secret, status,"
            " attempts) VALUES (:id, 'evt_1', :tenant, :lane, :url, '', 'pending', 0)",
            id=f"dlv_{number}",
            lane=f"lane_{number}",
            url=f"https://a.example.com/{number}",
            tenant=platform.tenant,
        )
    dispatcher.turn(frozenset({Channel.DELIVERIES}))
    dispatcher.turn(frozenset({Channel.DELIVERIES}))
    assert tasks_of(broker, TaskName.DELIVER) == 3


def test_a_second_tenant_gets_its_turn_through_a_crowd(
    platform: Platform, dispatcher: Dispatcher, broker: RecordingBroker
) -> None:
    beat(platform)
    for _ in range(6):
        platform.submit()
    platform.change(
        "INSERT INTO tenant SELECT 'ten_other', 'other', tenant_group, zone, mode, consent_mode,"
        " weight, max_in_flight, webhook_secret, created_at FROM tenant"
    )
    newcomer = platform.submit()
    platform.change("UPDATE job SET tenant_id = 'ten_other' WHERE id = :id", id=newcomer)
    dispatcher.turn(EVERYTHING)
    assert newcomer in jobs_of(broker)
    times = platform.scalar("SELECT count(*) FROM dispatch_clock WHERE virtual_time > 0")
    assert times == 2


def test_only_one_leads_and_the_next_takes_over(database_url: str) -> None:
    with try_to_lead(database_url) as first:
        assert first is not None
        with try_to_lead(database_url) as second:
            assert second is None
    with try_to_lead(database_url) as third:
        assert third is not None


def test_a_commit_wakes_the_leader_at_once(
    platform: Platform, broker: RecordingBroker, database_url: str
) -> None:
    beat(platform)
    stop = threading.Event()
    dispatcher = Dispatcher(platform.sessions, broker, ProgressNews(platform.services.links))

    def work() -> None:
        with try_to_lead(database_url) as leader:
            assert leader is not None
            lead(leader, dispatcher, stop)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    latencies: list[float] = []
    for _ in range(2):
        job_id = platform.submit()
        started = time.monotonic()
        while job_id not in jobs_of(broker):
            assert time.monotonic() - started < 5
            time.sleep(0.001)
        latencies.append(time.monotonic() - started)
        platform.change("UPDATE job SET status = 'canceled' WHERE id = :id", id=job_id)
    stop.set()
    thread.join(5)
    assert min(latencies) < 0.3


def test_the_drivers_name_is_taken_out_of_the_address() -> None:
    assert plain_url("postgresql+psycopg://u:p@h/d") == "postgresql://u:p@h/d"
    assert plain_url("postgresql://u:p@h/d?host=/x") == "postgresql://u:p@h/d?host=%2Fx"


def test_an_outage_is_logged_once_and_looked_at_ever_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    outage = Outage(lambda: now[0])
    outage.began(ConnectionError("refused"))
    looks = 0
    while now[0] < 60:
        if outage.may_try():
            looks += 1
            outage.went_on()
        now[0] += 0.05
    assert 60 / BACKOFF_MAX_S <= looks < 60 / BACKOFF_MAX_S + 8
    outage.ended()
    assert not outage.is_on
    assert [record.message[:14] for record in caplog.records] == [
        "the broker is ",
        "the broker is ",
    ]
    assert BACKOFF_MIN_S < BACKOFF_MAX_S


def test_settings_reach_a_child_process_unchanged(platform: Platform) -> None:
    environment: dict[str, Any] = environment_of(platform.settings)
    assert environment["DATABASE_URL"] == platform.settings.database_url
