"""The log of actions and journals: whatever is done to it past the triggers is found and named."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.audit import Head, entries, find_breaks, record, seal, verify
from billing.settlement import settle
from billing.wallets import open_wallet
from tests.billing.till import NOW, Till

ROWS = 120


def act(session: Session, number: int) -> None:
    record(
        session,
        actor=f"key_{number % 3}",
        action="tenant.create",
        subject=f"ten_{number}",
        detail={"name": f"tenant {number}", "tokens": number},
        now=NOW,
    )


@pytest.fixture
def log(till_to_commit: Till) -> Session:
    """A chain of actions and journals in turn, committed."""
    till = till_to_commit
    for number in range(ROWS // 4):
        act(till.session, number)
        till.give(5)
        till.hold(f"job{number}", 3)
        till.end(f"job{number}", images=2)
        settle(till.session, job=f"job{number}", now=NOW)
        till.session.commit()
        seal(till.session)
        till.session.commit()
    return till.session


def rows_of(session: Session) -> int:
    return int(session.scalar(text("SELECT count(*) FROM billing.audit_entry")) or 0)


def test_a_chain_as_it_was_recorded_verifies(log):
    found = verify(log)
    assert (found.breaks, found.waiting, found.rows) == ((), 0, ROWS)
    assert found.head.seq == ROWS
    log.rollback()
    assert verify(log, kept=found.head).breaks == ()


def test_an_action_is_in_the_log_only_if_its_transaction_commits(log):
    act(log, 99)
    log.rollback()
    act(log, 100)
    log.commit()
    newest = entries(log, limit=1, kind="action")[0]
    assert (newest.subject, newest.seq) == ("ten_100", ROWS + 1)
    log.rollback()
    assert verify(log).breaks == ()


def test_a_journal_that_commits_late_is_sealed_late_and_not_missed(till_to_commit):
    late = till_to_commit.session
    open_wallet(late, "u")
    late.commit()
    till_to_commit.give(5)  # takes its id first
    with Session(late.get_bind()) as other:
        Till(other).give(5, tenant="u")
        other.commit()
        assert seal(other) == 1
        other.commit()
        late.commit()
        assert verify(other).waiting == 1
        other.rollback()
        assert seal(other) == 1
        other.commit()
        found = verify(other)
        assert (found.rows, found.waiting, found.breaks) == (2, 0, ())


def test_entries_are_paged_newest_first(log):
    first = entries(log, limit=3)
    rest = entries(log, limit=2, after=first[-1].seq)
    assert [row.seq for row in (*first, *rest)] == list(range(ROWS, ROWS - 5, -1))
    assert {row.action for row in entries(log, limit=9, kind="journal")} == {
        "journal.grant",
        "journal.hold",
        "journal.settle",
    }
    assert {row.actor for row in entries(log, limit=9, actor="key_1")} == {"key_1"}


# What an intruder with the superuser's rights may do to one row: SQL by the row's number, and the
# row that verification has to name for it.
TAMPERING: dict[str, tuple[str, str]] = {
    "an action's actor": (
        "UPDATE billing.audit_action SET actor = 'me' WHERE id = :action",
        "action {action}",
    ),
    "an action's detail": (
        "UPDATE billing.audit_action SET detail = detail || '{\"tokens\": 1.5}' WHERE id = :action",
        "action {action}",
    ),
    "an action's time": (
        "UPDATE billing.audit_action SET at = at + interval '1 microsecond' WHERE id = :action",
        "action {action}",
    ),
    "an action deleted": (
        "DELETE FROM billing.audit_action WHERE id = :action",
        "action {action}",
    ),
    "a journal's actor": (
        "UPDATE billing.journal SET actor = 'me' WHERE id = :journal",
        "journal {journal}",
    ),
    "a transfer's amount": (
        "UPDATE billing.transfer SET amount = amount + 1 WHERE journal = :journal AND seq = 1",
        "journal {journal}",
    ),
    "a transfer deleted": (
        "DELETE FROM billing.transfer WHERE journal = :journal AND seq = 1",
        "journal {journal}",
    ),
    "a transfer inserted": (
        (
            "INSERT INTO billing.transfer SELECT journal, 99, wallet, 'goodwill', 'refunds', 1"
            " FROM billing.transfer WHERE journal = :journal LIMIT 1"
        ),
        "journal {journal}",
    ),
    "a journal deleted": (
        "DELETE FROM billing.journal WHERE id = :journal",
        "journal {journal}",
    ),
    "a digest": (
        "UPDATE billing.audit_entry SET digest = sha256('x') WHERE seq = :seq",
        "row {seq}",
    ),
    "a row of the chain deleted": (
        "DELETE FROM billing.audit_entry WHERE seq = :seq",
        "row {seq}",
    ),
    "a row deleted and the rest moved up": (
        (
            "DELETE FROM billing.audit_entry WHERE seq = :seq;"
            "UPDATE billing.audit_entry SET seq = seq - 1000000 WHERE seq > :seq;"
            "UPDATE billing.audit_entry SET seq = seq + 999999 WHERE seq < 0"
        ),
        "row {seq}",
    ),
    "two rows swapped": (
        (
            "UPDATE billing.audit_entry SET seq = -seq WHERE seq IN (:seq, :seq + 1);"
            "UPDATE billing.audit_entry SET seq = 2 * :seq + 1 + seq WHERE seq < 0"
        ),
        "row {seq}",
    ),
    "a row inserted": (
        (
            "UPDATE billing.audit_entry SET seq = -seq - 1 WHERE seq >= :seq;"
            "UPDATE billing.audit_entry SET seq = -seq WHERE seq < 0;"
            "INSERT INTO billing.audit_entry (seq, action, digest)"
            " VALUES (:seq, 999999, sha256('x'))"
        ),
        "row {seq}",
    ),
}


def tamper(session: Session, damage: str, row: dict[str, int]) -> None:
    session.execute(text("SET LOCAL session_replication_role = replica"))  # triggers look away
    session.execute(text("ALTER TABLE billing.audit_entry DROP CONSTRAINT audit_entry_seq_check"))
    for statement in damage.split(";"):
        session.execute(text(statement), row)
    session.execute(text("SET LOCAL session_replication_role = origin"))


def test_each_of_a_hundred_and_more_tampered_rows_is_found_and_named(log):
    dice = random.Random(20)
    known = log.execute(
        text("SELECT seq, action, journal FROM billing.audit_entry WHERE seq < :last"),
        {"last": ROWS},
    ).mappings()
    rows = [dict(row) for row in known]
    kinds = list(TAMPERING)
    for number in range(9 * len(kinds)):
        name = kinds[number % len(kinds)]
        damage, named = TAMPERING[name]
        wanted = [row for row in rows if all(row[key] for key in ("action", "journal", "seq")
                                             if f":{key}" in damage)]  # fmt: skip
        row = dice.choice(wanted)
        log.rollback()
        tamper(log, damage, row)
        found = find_breaks(log)
        assert found, (name, row)
        expected = named.format(**row)
        if expected.startswith("row"):
            assert found[0].seq == row["seq"], (name, row, found)
        else:
            assert found[0].row == expected, (name, row, found)
    log.rollback()
    assert verify(log).breaks == ()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            (
                "INSERT INTO billing.audit_action (at, actor, action, subject, detail)"
                " VALUES (now(), 'me', 'a.b', 'c', '{}')"
            ),
            "written past the chain",
        ),
        (
            (
                "INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref,"
                " occurred_at, actor, available_after)"
                " VALUES (1, 'x', '', 'grant', '1', now(), 'me', 0)"
            ),
            "never noted for the chain",
        ),
        ("DELETE FROM billing.audit_entry WHERE seq > 50", "head says"),
    ],
)
def test_rows_written_past_the_chain_or_cut_off_its_end_are_found(log, damage, named):
    tamper(log, damage, {})
    log.commit()
    assert named in verify(log).breaks[0].detail


def test_an_end_cut_off_with_its_head_is_found_by_the_head_kept_elsewhere(log):
    kept = verify(log).head
    log.rollback()
    tamper(
        log,
        (
            "DELETE FROM billing.audit_action WHERE id IN"
            " (SELECT action FROM billing.audit_entry WHERE seq > 116);"
            "DELETE FROM billing.journal WHERE id IN"
            " (SELECT journal FROM billing.audit_entry WHERE seq > 116);"
            "DELETE FROM billing.audit_entry WHERE seq > 116;"
            "UPDATE billing.audit_head SET (seq, digest) ="
            " (SELECT seq, digest FROM billing.audit_entry WHERE seq = 116)"
        ),
        {},
    )
    log.commit()
    assert verify(log).breaks == ()
    log.rollback()
    assert verify(log, kept=kept).breaks[0].seq == ROWS
    log.rollback()
    assert verify(log, kept=Head(5, "0" * 64)).breaks[0].seq == 5


@pytest.mark.parametrize("table", ["audit_action", "audit_entry"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_log_is_append_only(log, table, change):
    column = "actor = 'me'" if table == "audit_action" else "digest = sha256('x')"
    with pytest.raises(IntegrityError, match="refuses"):
        log.execute(text(change.format(f"billing.{table}", column)))


def test_many_at_once_make_one_chain(till_to_commit, engine):
    till_to_commit.give(100)
    till_to_commit.session.commit()

    def work(client: int) -> None:
        for number in range(10):
            with Session(engine) as session, session.begin():
                if client % 3 == 0:
                    seal(session, limit=5)
                    continue
                act(session, client * 100 + number)
                Till(session).hold(f"{client}-{number}", 1)
                act(session, client * 100 + number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    session = till_to_commit.session
    while seal(session):
        session.commit()
    session.commit()
    found = verify(session)
    assert (found.breaks, found.waiting, found.rows) == ((), 0, 1 + 4 * 10 * 3)


def test_an_action_without_an_actor_is_refused(till: Till):
    with pytest.raises(IntegrityError):
        record(till.session, actor="", action="a.b", subject="c", detail={}, now=NOW)
