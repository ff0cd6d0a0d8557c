"""Many grants at once are what the same grants one by one are."""

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import grant_batch
from billing.amounts import MicroTokens
from billing.grant_batch import BatchRow, book_staged, booked_rows, stage
from billing.grants import GrantKind, expire_due, issue
from billing.reconcile import check
from billing.wallets import balance, entries, open_wallet
from tests.billing.till import NOW

TENANTS = [f"tenant {number}" for number in range(4)]


def row(seq, tenant="t", *, amount=5_000_000, key=None, days=None, kind=GrantKind.QUOTA):
    return BatchRow(
        seq=seq,
        tenant=tenant,
        kind=kind,
        amount=MicroTokens(amount),
        idem_key=key or f"key:{seq}",
        priority=50,
        effective_at=NOW - timedelta(days=9),
        expires_at=None if days is None else NOW + timedelta(days=days),
    )


def book(session, rows, *, now=NOW):
    stage(session, rows)
    return book_staged(session, actor="test", approval="apr_1", now=now)


def test_each_row_is_a_grant_with_journal_and_transfer(till):
    till.give(1)
    assert book(till.session, [row(7, days=1), row(9, amount=2)]) == 2
    first, second = booked_rows(till.session)
    assert (first.seq, first.before, first.after) == (7, 1_000_000, 6_000_000)
    assert (second.seq, second.before, second.after) == (9, 6_000_000, 6_000_002)
    assert balance(till.session, "t", now=NOW).available == 6_000_002
    newest = entries(till.session, "t", limit=2)
    assert [(each.kind, each.grant, each.amount) for each in newest] == [
        ("grant", second.grant, 2),
        ("grant", first.grant, 5_000_000),
    ]
    source = till.session.scalar(
        text("SELECT debit FROM billing.transfer WHERE token_grant = :id"), {"id": first.grant}
    )
    assert source == "quota_issued"


def test_a_key_books_once(till):
    assert book(till.session, [row(1), row(2)]) == 2
    assert book(till.session, [row(1), row(2), row(3)]) == 1
    assert book(till.session, [row(1, amount=7, key="key:3")]) == 0
    assert balance(till.session, "t", now=NOW).available == 15_000_000


def test_who_has_no_wallet_is_left_out(till):
    assert book(till.session, [row(1), row(2, "nobody")]) == 1


def test_a_wallet_that_is_full_takes_no_more(till, monkeypatch):
    monkeypatch.setattr(grant_batch, "BALANCE_MAX", 4_000_000)
    assert book(till.session, [row(1)]) == 1
    assert book(till.session, [row(2)]) == 0


def test_a_row_whose_time_is_over_is_booked_and_swept(till):
    assert book(till.session, [row(1, days=-1)]) == 1
    assert balance(till.session, "t", now=NOW).available == 0
    assert expire_due(till.session, now=NOW) == 1
    assert [each.kind for each in entries(till.session, "t")] == ["expire", "grant"]


def test_what_expired_before_is_swept_first(till):
    till.give(3, days=1)
    later = NOW + timedelta(days=2)
    book(till.session, [row(1)], now=later)
    (booked,) = booked_rows(till.session)
    assert (booked.before, booked.after) == (0, 5_000_000)


rows = st.lists(
    st.tuples(
        st.sampled_from(TENANTS),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 10**12),
        st.sampled_from([None, 1, 400]),
        st.sampled_from([GrantKind.QUOTA, GrantKind.BULK, GrantKind.GRANT]),
    ),
    max_size=12,
)


@given(batches=st.lists(rows, min_size=1, max_size=3))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_batch_is_what_one_by_one_is(engine, batches):
    """Two tenants of the same history, one by batches and one by single grants; all reconciles."""
    with Session(engine) as session:
        mark = f"{session.scalar(text('SELECT count(*) FROM billing.wallet'))}"
        for tenant in TENANTS:
            open_wallet(session, f"many {mark} {tenant}")
            open_wallet(session, f"single {mark} {tenant}")
        for batch in batches:
            wanted = {(tenant, key): rest for tenant, key, *rest in batch}
            many = [
                row(seq, f"many {mark} {tenant}", amount=amount, key=key, days=days, kind=kind)
                for seq, ((tenant, key), (amount, days, kind)) in enumerate(wanted.items())
            ]
            book(session, many)
            for each in many:
                _issue_once(session, each, f"single{each.tenant.removeprefix('many')}")
        session.commit()
        for tenant in TENANTS:
            many = balance(session, f"many {mark} {tenant}", now=NOW)
            single = balance(session, f"single {mark} {tenant}", now=NOW)
            assert many.available == single.available
            assert _kinds(many) == _kinds(single)
    with Session(engine) as session:
        assert check(session) == []


def _kinds(found):
    return [(each.kind, each.remaining, each.expires_at) for each in found.grants]


def _issue_once(session, wanted, tenant):
    known = session.scalar(
        text(
            "SELECT j.id FROM billing.journal j JOIN billing.wallet w ON w.id = j.wallet"
            " WHERE w.tenant = :tenant AND j.idem_key = :key"
        ),
        {"tenant": tenant, "key": wanted.idem_key},
    )
    if known is None:
        issue(
            session,
            tenant=tenant,
            amount=wanted.amount,
            kind=wanted.kind.value,
            idem_key=wanted.idem_key,
            actor="test",
            priority=wanted.priority,
            expires_at=wanted.expires_at,
            now=NOW,
        )
