"""Many settlements in one statement come to what one after the other comes to."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing.errors import InsufficientTokensError
from billing.settlement import settle, settle_many
from billing.wallets import open_wallet
from tests.billing.till import NOW

_GRANTS = text(
    "SELECT g.priority, g.granted, g.remaining, g.held, g.spent, g.expired"
    " FROM billing.token_grant g"
    " JOIN billing.wallet w ON w.id = g.wallet WHERE w.tenant = :tenant ORDER BY g.id"
)
_WALLET = text("SELECT available, held, debt FROM billing.wallet WHERE tenant = :tenant")
_TRANSFERS = text(
    "SELECT t.debit, t.credit, sum(t.amount) FROM billing.transfer t"
    " JOIN billing.wallet w ON w.id = t.wallet WHERE w.tenant = :tenant GROUP BY 1, 2 ORDER BY 1, 2"
)


@dataclass(frozen=True)
class Job:
    """Held, then ended; images are tokens on the flat card."""

    held: int
    images: int
    outcome: str


GIFTS = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([50, 100]), st.sampled_from([None, 1.0, 3.0])),
    min_size=1,
    max_size=4,
)
JOBS = st.lists(
    st.builds(
        Job,
        st.integers(0, 12),
        st.integers(0, 15),  # more than was held, too
        st.sampled_from(["succeeded", "succeeded", "canceled", "failed", "expired"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(gifts=GIFTS, jobs=JOBS, days=st.sampled_from([0, 2, 4]))
def test_a_fold_is_the_same_as_one_by_one(till, gifts, jobs, days):
    session, later = till.session, NOW + timedelta(days=days)
    example = session.begin_nested()
    try:
        together = _prepared(till, "together", gifts, jobs)
        folded = settle_many(session, jobs=together, now=later)
        alone = _prepared(till, "alone", gifts, jobs)
        single = [settle(session, job=job, now=later) for job in alone]
        assert [_moved(each) for each in folded] == [_moved(each) for each in single]
        assert len(folded) == len(together)
        for query in (_GRANTS, _WALLET, _TRANSFERS):
            assert _rows(till, query, "together") == _rows(till, query, "alone")
    finally:
        example.rollback()


def _prepared(till, tenant, gifts, jobs):
    """The jobs of a tenant whose price could be held, ended and not settled."""
    open_wallet(till.session, tenant)
    for tokens, priority, lasts in gifts:
        till.give(tokens, tenant=tenant, priority=priority, days=lasts)
    held = []
    for number, job in enumerate(jobs):
        name = f"{tenant}-{number:02}"
        with suppress(InsufficientTokensError):
            till.hold(name, job.held, tenant=tenant)
            till.end(name, job.outcome, images=job.images, quoted=job.held, tenant=tenant)
            held.append(name)
    return held


def _moved(found):
    return (
        found.job.rpartition("-")[2],
        (found.charged, found.released, found.absorbed, found.status, found.available_after),
    )


def _rows(till, query, tenant):
    return till.session.execute(query, {"tenant": tenant}).all()
