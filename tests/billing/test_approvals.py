"""A decision takes two people, happens once, and is done whole or not at all."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.approvals import (
    LIFETIME,
    ApprovalState,
    approve,
    expire_due,
    get,
    listed,
    propose,
    reject,
)
from billing.errors import (
    ApprovalDecidedError,
    ApprovalExpiredError,
    InsufficientTokensError,
    SelfApprovalError,
    UnknownApprovalError,
)
from billing.grants import issue
from billing.wallets import balance
from tests.billing.till import NOW


def ask(session, approval_id="apr_1", *, maker="alice", amount=5_000_000):
    return propose(
        session,
        approval_id=approval_id,
        kind="gift",
        subject="t",
        payload={"amount": amount},
        maker=maker,
        now=NOW,
    )


def give(session, approval):
    """An effect of the tests: tokens, once per approval."""
    grant = issue(
        session,
        tenant=approval.subject,
        amount=approval.payload["amount"],
        kind="grant",
        idem_key=f"gift:{approval.id}",
        actor=approval.maker,
        now=NOW,
    )
    return {"grant": grant.id}


EFFECTS = {"gift": give}


def agree(session, approval_id="apr_1", *, checker="bob", now=NOW, effects=EFFECTS):
    return approve(session, approval_id=approval_id, checker=checker, effects=effects, now=now)


def test_a_second_person_approves_and_it_is_done(till):
    asked = ask(till.session)
    assert asked.state is ApprovalState.PENDING
    assert balance(till.session, "t", now=NOW).available == 0
    done = agree(till.session)
    assert (done.state, done.maker, done.checker) == ("approved", "alice", "bob")
    assert done.result["grant"]
    assert balance(till.session, "t", now=NOW).available == 5_000_000
    assert get(till.session, "apr_1") == done


def test_the_maker_cannot_approve(till):
    ask(till.session)
    with pytest.raises(SelfApprovalError) as refusal:
        agree(till.session, checker="alice")
    assert refusal.value.code == "self_approval"
    assert get(till.session, "apr_1").state is ApprovalState.PENDING
    assert balance(till.session, "t", now=NOW).available == 0


def refuse(session):
    return reject(session, approval_id="apr_1", checker="eve", now=NOW)


@pytest.mark.parametrize("second", [agree, refuse])
def test_deciding_twice_has_its_own_code_and_changes_nothing(till, second):
    ask(till.session)
    done = agree(till.session)
    with pytest.raises(ApprovalDecidedError) as refusal:
        second(till.session)
    assert refusal.value.code == "approval_decided"
    assert get(till.session, "apr_1") == done
    assert balance(till.session, "t", now=NOW).available == 5_000_000


def test_what_was_rejected_is_never_done(till):
    ask(till.session)
    said_no = reject(till.session, approval_id="apr_1", checker="bob", reason="too much", now=NOW)
    assert (said_no.state, said_no.checker, said_no.reason) == ("rejected", "bob", "too much")
    with pytest.raises(ApprovalDecidedError):
        agree(till.session)
    assert balance(till.session, "t", now=NOW).available == 0


def test_the_maker_may_take_it_back(till):
    ask(till.session)
    assert reject(till.session, approval_id="apr_1", checker="alice", now=NOW).state == "rejected"


def test_it_expires_after_72_hours_even_before_the_sweeper_came(till):
    ask(till.session)
    late = NOW + timedelta(hours=72)
    assert late == NOW + LIFETIME
    for _ in range(2):  # not swept, then swept
        with pytest.raises(ApprovalExpiredError):
            agree(till.session, now=late)
        expire_due(till.session, now=late)
    found = get(till.session, "apr_1")
    assert (found.state, found.checker, found.decided_at) == ("expired", None, late)


def test_the_sweeper_leaves_what_still_has_time_or_is_decided(till):
    ask(till.session, "apr_1")
    ask(till.session, "apr_2")
    agree(till.session, "apr_2")
    assert expire_due(till.session, now=NOW + LIFETIME - timedelta(seconds=1)) == 0
    assert expire_due(till.session, now=NOW + LIFETIME) == 1


def test_an_effect_that_refuses_leaves_it_pending(till_to_commit):
    session = till_to_commit.session
    ask(session)
    session.commit()

    def give_up(session, approval):
        give(session, approval)
        raise InsufficientTokensError(2, 1)

    with pytest.raises(InsufficientTokensError), session.begin():
        agree(session, effects={"gift": give_up})
    assert get(session, "apr_1").state is ApprovalState.PENDING
    assert balance(session, "t", now=NOW).available == 0
    assert agree(session).state is ApprovalState.APPROVED


def test_an_unknown_approval_is_named(till):
    for act in (agree, refuse):
        with pytest.raises(UnknownApprovalError):
            act(till.session)


def test_the_list_is_newest_first_and_filtered(till):
    for number in range(4):
        ask(till.session, f"apr_{number}")
    agree(till.session, "apr_2")
    pending = listed(till.session, state="pending")
    assert [each.id for each in pending] == ["apr_3", "apr_1", "apr_0"]
    assert [each.id for each in listed(till.session, limit=2, after="apr_3")] == ["apr_2", "apr_1"]
    assert listed(till.session, kind="other") == []


def test_of_people_who_approve_at_the_same_time_one_does_it(till_to_commit, engine):
    session = till_to_commit.session
    ask(session)
    session.commit()
    outcomes = []

    def try_to(checker):
        with Session(engine) as own:
            try:
                with own.begin():
                    agree(own, checker=checker)
            except ApprovalDecidedError:
                outcomes.append("decided")
            else:
                outcomes.append("done")

    threads = [threading.Thread(target=try_to, args=(f"person {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["decided"] * 5 + ["done"]
    assert balance(session, "t", now=NOW).available == 5_000_000


@pytest.mark.parametrize(
    "change",
    [
        "state = 'approved', checker = maker, decided_at = now()",
        "state = 'approved', decided_at = now()",
        "state = 'approved', checker = 'bob'",
        "payload = '{}'",
        "maker = 'eve'",
    ],
)
def test_the_database_itself_refuses_what_one_person_does(till, change):
    ask(till.session)
    with pytest.raises(IntegrityError):
        till.session.execute(text(f"UPDATE billing.approval SET {change}"))


def test_the_database_itself_keeps_what_was_decided(till):
    ask(till.session)
    agree(till.session)
    with pytest.raises(IntegrityError, match="refuses UPDATE"):
        till.session.execute(text("UPDATE billing.approval SET state = 'rejected'"))
