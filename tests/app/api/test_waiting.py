import threading
import time

import psycopg
import pytest

from app.api.waiting import SettledListener, preferred_wait_s


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=5", 5),
        ("respond-async, wait=10", 10),
        ("wait = 7 ; foo=bar", 7),
        ('wait="3"', 3),
        ("WAIT=2", 2),
        ("wait=600", 60),
        ("wait=-1", 0),
        ("wait=abc", 0),
        ("nowait=5", 0),
        ("wait=99999999999", 0),
    ],
)
def test_the_preference_is_read_like_rfc_7240(header: str | None, seconds: int) -> None:
    assert preferred_wait_s(header) == seconds


@pytest.fixture
def listener(postgres_url: str):
    listener = SettledListener(postgres_url, poll_s=0.2)
    yield listener
    listener.close()


def notify(url: str, job_id: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_notify('pixelmeter_settled', %s)", (job_id,))


def test_a_job_already_settled_is_not_waited_for(listener: SettledListener) -> None:
    assert listener.wait_for("job_1", settled=lambda: True, timeout_s=60)


def test_the_time_to_wait_is_kept(listener: SettledListener) -> None:
    started = time.monotonic()
    assert not listener.wait_for("job_1", settled=lambda: False, timeout_s=0.3)
    assert 0.25 < time.monotonic() - started < 2


def test_a_notification_wakes_the_waiter_at_once(postgres_url: str) -> None:
    listener = SettledListener(postgres_url, poll_s=30)
    looks: list[float] = []
    done = threading.Event()

    def settled() -> bool:
        looks.append(time.monotonic())
        return done.is_set()

    found: list[bool] = []
    waiter = threading.Thread(
        target=lambda: found.append(listener.wait_for("job_2", settled=settled, timeout_s=20))
    )
    waiter.start()
    deadline = time.monotonic() + 10
    done.set()
    # The listener may not have said LISTEN yet: repeat until it hears.
    while waiter.is_alive() and time.monotonic() < deadline:
        notify(postgres_url, "job_other")
        notify(postgres_url, "job_2")
        waiter.join(timeout=0.05)
    assert found == [True]
    listener._closed.set()


def test_a_lost_notification_costs_one_poll(listener: SettledListener) -> None:
    done = threading.Event()
    threading.Timer(0.1, done.set).start()
    started = time.monotonic()
    assert listener.wait_for("job_3", settled=done.is_set, timeout_s=20)
    assert time.monotonic() - started < 2


def test_too_many_waiters_are_answered_at_once(postgres_url: str) -> None:
    listener = SettledListener(postgres_url, waiters_max=1, poll_s=0.1)
    release = threading.Event()
    waiter = threading.Thread(
        target=listener.wait_for,
        args=("job_4",),
        kwargs={"settled": release.is_set, "timeout_s": 20},
    )
    waiter.start()
    while listener._count == 0:
        time.sleep(0.01)
    started = time.monotonic()
    assert not listener.wait_for("job_5", settled=lambda: False, timeout_s=20)
    assert time.monotonic() - started < 1
    release.set()
    waiter.join(timeout=5)
    assert listener._count == 0
    assert listener._waiting == {}
    listener.close()


def test_a_database_that_is_away_leaves_the_poll() -> None:
    listener = SettledListener("postgresql://127.0.0.1:1/none", poll_s=0.05)
    done = threading.Event()
    threading.Timer(0.2, done.set).start()
    assert listener.wait_for("job_6", settled=done.is_set, timeout_s=10)
    listener.close()
