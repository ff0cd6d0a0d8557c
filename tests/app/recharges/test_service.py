"""A recharge against what a clerk would do with the same list."""

import hashlib
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.approvals import effects
from app.ids import new_id
from app.recharges.order import Order, WantedLine
from app.recharges.service import RechargeLimits, known_file, place, take_turn
from app.secret_box import SecretBox
from app.tenants.service import create_tenant
from billing import approvals, recharges
from billing.amounts import MicroTokens
from billing.errors import RechargeBookedError, RechargeRefusedError
from billing.recharges import RechargeMode
from billing.reconcile import check
from billing.wallets import balance
from tests.billing.till import NOW

BOX = SecretBox("the secret of these tests")
LIMITS = RechargeLimits(alone=MicroTokens(1000), alone_daily=MicroTokens(10**15), per_minute=10**6)
NAMES = ("ann", "ben", "cem", "dan")


@pytest.fixture
def people(session: Session) -> dict[str, str]:
    made = {name: create_tenant(session, name=name, box=BOX).id for name in NAMES}
    session.commit()
    return made


def order(*lines: WantedLine, mode: str = "partial", file: str = "a") -> Order:
    digest = hashlib.sha256(file.encode()).hexdigest()
    return Order("csv", RechargeMode(mode), "desk", "test", digest, lines)


def line(row: int, named: str, amount: int = 5, **more: object) -> WantedLine:
    return WantedLine(row=row, named=named, amount=MicroTokens(amount), **more)


def put(session: Session, wanted: Order, *, maker: str = "alice", now=NOW):
    take_turn(session, maker=maker)
    known = known_file(session, wanted)
    return known or place(session, wanted, maker=maker, actor="key", limits=LIMITS, now=now)


def agree(session: Session, approval_id: str, *, now=NOW) -> None:
    approvals.approve(session, approval_id=approval_id, checker="bob", effects=effects(), now=now)


lists = st.lists(
    st.tuples(st.sampled_from([*NAMES, "nobody"]), st.integers(1, 300)), min_size=1, max_size=8
)


@given(files=st.lists(lists, min_size=1, max_size=3), again=st.lists(st.integers(0, 2), max_size=4))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_list_is_booked_as_a_clerk_would_and_a_second_time_not_at_all(
    engine: Engine, files, again
):
    """Invariant 19. The first line of each tenant counts; above the limit it waits for two."""
    with Session(engine) as session:
        mark = new_id("req")
        made = {name: create_tenant(session, name=f"{name}{mark}", box=BOX).id for name in NAMES}
        expected = dict.fromkeys(NAMES, 0)
        orders = [
            order(
                *(line(row, f"{named}{mark}", amount) for row, (named, amount) in lines_of(file)),
                file=f"{mark}{number}",
            )
            for number, file in enumerate(files)
        ]
        for wanted, file in zip(orders, files, strict=True):
            first: dict[str, int] = {}
            for named, amount in file:
                if named in expected:
                    first.setdefault(named, amount)
            placed = put(session, wanted)
            total = sum(first.values())
            assert placed.tokens == total
            assert (placed.approval is not None) == (total > LIMITS.alone)
            if placed.approval is not None:
                assert placed.booked is None
                agree(session, placed.approval)
            for named, amount in first.items():
                expected[named] += amount
        for number in again:
            put(session, orders[number % len(orders)])
        found = {name: balance(session, made[name], now=NOW).available for name in NAMES}
        assert found == expected
        session.commit()
    with Session(engine) as session:
        assert check(session) == []


def lines_of(file):
    return enumerate(file, start=1)


def test_the_balances_of_the_log_follow_each_other(session: Session, people) -> None:
    first = put(session, order(line(1, "ann", 5), line(2, "nobody"), file="1"))
    second = put(session, order(line(1, "ann", 7), file="2"))
    logged = [each for made in (first, second) for each in recharges.lines(session, made.id)]
    assert [(each.named, each.balance_before, each.balance_after) for each in logged] == [
        ("ann", 0, 5),
        ("nobody", None, None),
        ("ann", 5, 12),
    ]


def test_a_recharge_is_booked_once(session: Session, people) -> None:
    made = put(session, order(line(1, "ann")))
    with pytest.raises(RechargeBookedError):
        recharges.book(session, recharge_id=made.id, actor="key", now=NOW)


@pytest.mark.parametrize("mode", ["partial", "atomic"])
def test_a_line_whose_time_passed_while_it_waited_is_not_booked(
    session: Session, people, mode: str
) -> None:
    soon = NOW + timedelta(hours=1)
    asked = put(session, order(line(1, "ann", 2000, expires_at=soon), line(2, "ben", 1), mode=mode))
    session.commit()
    later = NOW + timedelta(hours=2)
    if mode == "atomic":
        with pytest.raises(RechargeRefusedError, match="ann"), session.begin():
            agree(session, asked.approval, now=later)
        assert balance(session, people["ben"], now=later).available == 0
        return
    agree(session, asked.approval, now=later)
    done = recharges.get(session, asked.id)
    assert (done.booked, done.failed) == (1, 1)
    ann, ben = recharges.lines(session, asked.id)
    assert (ann.error, ben.balance_after) == ("not_booked", 1)


def test_the_same_file_at_the_same_time_is_booked_once(engine: Engine, session, people) -> None:
    wanted = order(line(1, "ann"), line(2, "ben"))
    made = []

    def send() -> None:
        with Session(engine) as own, own.begin():
            made.append(put(own, wanted).id)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1
    assert balance(session, people["ann"], now=NOW).available == 5


def test_recharges_of_many_people_over_the_same_users_never_deadlock(
    engine: Engine, session, people
) -> None:
    """Each names the users in another order; the wallets are locked in one order all the same."""
    failures = []

    def send(number: int) -> None:
        names = list(NAMES)[number % 4 :] + list(NAMES)[: number % 4]
        wanted = order(*(line(row, name) for row, name in enumerate(names, start=1)))
        try:
            for turn in range(5):
                with Session(engine) as own, own.begin():
                    again = replace(wanted, content_sha256=f"{number} {turn}")
                    put(own, again, maker=f"person {number}")
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {balance(session, tenant, now=NOW).available for tenant in people.values()} == {150}


def test_what_was_asked_never_changes(session: Session, people) -> None:
    put(session, order(line(1, "ann")))
    for change in (
        "UPDATE billing.recharge SET tokens = 1",
        "UPDATE billing.recharge_row SET amount = 1",
        "DELETE FROM billing.recharge_row",
        "DELETE FROM billing.recharge",
    ):
        with pytest.raises(Exception, match="book a correction instead"), session.begin_nested():
            session.execute(text(change))
