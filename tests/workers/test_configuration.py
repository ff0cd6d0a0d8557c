"""Celery's settings, names and commands: what has to agree stays in agreement."""

import contextlib
import re
import threading
import time
from pathlib import Path

import pytest
from celery.app.defaults import NAMESPACES, flatten
from celery.signals import worker_init
from kombu import Connection

import workers
from app.jobs.states import PRIORITY_LEVELS, Priority
from app.settings import MissingSettingError, load_settings
from tests.workers.redis_server import RedisServer
from workers.beat import SCHEDULE
from workers.boot import ENGINES_KEY, connect_main_process, engines_of
from workers.configuration import TRANSPORT_OPTIONS, broker_url, create_celery
from workers.dispatch.broker import BrokerDownError, CeleryBroker, Message
from workers.envelope import TolerantChannel, tolerate_rubbish
from workers.lease import VisibilityThread
from workers.routing import (
    PRIORITY_STEPS,
    Queue,
    TaskName,
    engine_of,
    engine_queue,
    message_priority,
)

REDIS = {"REDIS_URL": "redis://127.0.0.1:6379/0"}


@pytest.mark.parametrize(
    ("redis_url", "kombu_url"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://user:pass@host:6380/3", "rediss://user:pass@host:6380/3"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///run/redis.sock?db=2", "redis+socket:///run/redis.sock?virtual_host=2"),
    ],
)
def test_redis_addresses_are_translated_for_kombu(redis_url: str, kombu_url: str) -> None:
    assert broker_url(redis_url) == kombu_url


def test_kombu_connects_to_a_unix_socket_and_its_database(redis_server: RedisServer) -> None:
    url = broker_url(f"unix://{redis_server.socket}?db=2")
    with Connection(url, transport_options=TRANSPORT_OPTIONS) as connection:
        client = connection.default_channel.client
        assert client.connection_pool.connection_kwargs["db"] == 2
        assert client.ping()


def test_the_options_that_were_tested_together_are_in_force() -> None:
    conf = create_celery(load_settings(REDIS)).conf
    assert conf.task_acks_late
    assert not conf.task_reject_on_worker_lost
    assert conf.task_retry_on_worker_lost
    assert conf.task_ignore_result
    assert conf.result_backend is None
    assert (conf.worker_prefetch_multiplier, conf.worker_disable_prefetch) == (1, True)
    assert (conf.worker_pool_start_method, conf.worker_concurrency) == ("spawn", 1)
    assert conf.worker_soft_shutdown_timeout == 25
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss
    assert (conf.accept_content, conf.task_serializer) == (["json"], "json")
    assert conf.broker_connection_max_retries is None
    options = conf.broker_transport_options
    assert options["visibility_timeout"] == conf.visibility_timeout == 90
    assert (options["unacked_restore_interval"], options["unacked_restore_throttle"]) == (5, 1)
    assert (options["priority_steps"], options["sep"]) == ([0, 3, 6, 9], ":")


def test_no_setting_of_the_configuration_is_unknown_to_celery() -> None:
    celery = create_celery(load_settings(REDIS))
    known = {name for name, _ in flatten(NAMESPACES)} | {"visibility_timeout"}
    assert set(celery.conf.changes) - known <= {ENGINES_KEY, "include", "deprecated_settings"}


def test_without_a_broker_address_the_way_out_is_told() -> None:
    with pytest.raises(MissingSettingError, match="REDIS_URL is not set"):
        create_celery(load_settings({}))


def test_tasks_are_named_after_their_modules() -> None:
    celery = create_celery(load_settings(REDIS))
    celery.loader.import_default_modules()
    own = {name for name in celery.tasks if name.startswith("workers.")}
    assert own == {task.value for task in TaskName}


def test_every_task_has_a_queue() -> None:
    celery = create_celery(load_settings(REDIS))
    routes = {
        task: celery.amqp.router.route({}, task.value)["queue"].name
        for task in TaskName
        if task not in {TaskName.RUN_JOB, TaskName.RUN_SEGMENT}
    }
    assert set(routes.values()) == {queue.value for queue in Queue}


def test_the_schedule_only_hints_and_its_hints_do_not_pile_up() -> None:
    assert {entry["task"] for entry in SCHEDULE.values()} == {
        TaskName.SWEEP.value,
        TaskName.SEAL_AUDIT.value,
        TaskName.TELL_LIMITS.value,
        TaskName.TEND_BATCHES.value,
        TaskName.MEASURE_SPEEDS.value,
        TaskName.COPY_USAGE.value,
        TaskName.FIND_ANOMALIES.value,
        TaskName.GRANT.value,
        TaskName.KEEP_BOOKS.value,
        TaskName.START_ESTIMATES.value,
        TaskName.RECONCILE.value,
        TaskName.COLLECT_FILES.value,
        TaskName.COLLECT_GARBAGE.value,
    }
    assert all(entry["options"]["expires"] <= entry["schedule"] for entry in SCHEDULE.values())


def test_priorities_are_the_steps_redis_keeps() -> None:
    assert PRIORITY_STEPS == (0, 3, 6, 9)
    assert {message_priority(priority) for priority in Priority} == set(PRIORITY_STEPS)
    assert PRIORITY_LEVELS[Priority.INTERACTIVE] == 0


def test_a_worker_knows_its_engines_by_its_queues() -> None:
    assert engine_of(engine_queue("face-swap")) == "face-swap"
    assert engines_of(["engine.detect", "billing", "engine.colorize"]) == ["colorize", "detect"]


def test_every_shipped_engine_has_a_consumer_in_the_commands() -> None:
    from engines.manifest import shipped_folders

    readme = (Path(workers.__path__[0]) / "README.md").read_text()
    consumed = set(re.findall(r"engine\.([a-z-]+)", readme))
    assert {folder.name.replace("_", "-") for folder in shipped_folders()} <= consumed


def test_the_readme_names_every_task_and_queue() -> None:
    readme = (Path(workers.__path__[0]) / "README.md").read_text()
    assert all(task.value in readme for task in TaskName)
    assert all(f"`{queue.value}`" in readme for queue in Queue)


def test_a_message_reaches_its_queue_and_is_counted(redis_server: RedisServer) -> None:
    broker = CeleryBroker(load_settings({"REDIS_URL": redis_server.url}))
    message = Message(TaskName.RUN_JOB, "engine.detect", ("job_1",), "job_1:1", 3, 90.0)
    assert broker.depth("engine.detect") == 0
    broker.send(message)
    assert broker.depth("engine.detect") == 1
    with contextlib.closing(redis_server.client()) as client:
        (sent,) = client.lrange("engine.detect:3", 0, -1)
    assert b'"id": "job_1:1"' in sent
    assert b'"timelimit": [90.0, null]' in sent
    broker.close()


def test_a_broker_that_was_killed_is_found_again(redis_server: RedisServer) -> None:
    broker = CeleryBroker(load_settings({"REDIS_URL": redis_server.url}))
    message = Message(TaskName.SETTLE, "billing")
    broker.send(message)
    redis_server.kill()
    for _ in range(3):
        with pytest.raises(BrokerDownError):
            broker.send(message)
    redis_server.start()
    deadline = time.monotonic() + 10
    while True:
        try:
            broker.send(message)
            break
        except BrokerDownError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert broker.depth("billing") == 1
    broker.close()


def test_a_worker_starts_to_keep_messages_invisible_before_it_takes_any() -> None:
    connect_main_process(create_celery(load_settings(REDIS)))
    worker_init.send(sender=None)
    (thread,) = [each for each in threading.enumerate() if isinstance(each, VisibilityThread)]
    assert thread.daemon
    thread.end()
    thread.join(5)
    assert not thread.is_alive()


def test_the_tolerant_channel_is_the_one_that_kombu_uses() -> None:
    tolerate_rubbish()
    with Connection(broker_url("unix:///nowhere.sock")) as connection:
        assert connection.transport_cls is not None
        assert connection.transport.Channel is TolerantChannel
