"""Many holds in one statement come to what one after the other comes to."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing.amounts import from_number
from billing.ledger import HOLDS_SQL
from billing.wallets import open_wallet
from tests.billing.test_fold import GIFTS
from tests.billing.till import LATER, NOW

_PLACE = text(
    f"""
    SELECT hold.* FROM (SELECT CAST(:tenant AS text) AS tenant, CAST(:holds AS text[]) AS holds,
        CAST(:jobs AS text[]) AS jobs, CAST(:amounts AS bigint[]) AS amounts,
        CAST(:expire_at AS timestamptz[]) AS expire_at, CAST(:none AS text[]) AS projects,
        CAST(:none AS text[]) AS api_keys, CAST(:none AS text[]) AS end_users) t,
        LATERAL {HOLDS_SQL.replace("NULL", "CAST(:now AS timestamptz)")} hold
    """
)
_ONE = text(
    "SELECT outcome, available FROM billing.place_hold(:tenant, :hold, :job, :amount, :expires_at,"
    " :now)"
)
_WALLET = "SELECT available, held, debt, version FROM billing.wallet w WHERE w.tenant = :tenant"
_OWN = "JOIN billing.wallet w ON w.id = {}.wallet AND w.tenant = :tenant"
_GRANTS = (
    "SELECT g.priority, g.granted, g.remaining, g.held FROM billing.token_grant g"
    f" {_OWN.format('g')} ORDER BY g.id"
)
_HOLDS = (
    "SELECT right(h.job, 2), h.amount, h.state, h.capped, h.expires_at, h.placed_at"
    f" FROM billing.hold h {_OWN.format('h')} ORDER BY 1"
)
_DRAWN = (
    "SELECT right(h.job, 2), p.seq, p.amount, g.priority, g.expires_at FROM billing.hold_grant p"
    f" JOIN billing.hold h ON h.id = p.hold {_OWN.format('h')}"
    " JOIN billing.token_grant g ON g.id = p.token_grant ORDER BY 1, 2"
)
_JOURNAL = (
    "SELECT right(j.ref, 2), j.kind, j.available_after, t.seq, t.debit, t.credit, t.amount"
    f" FROM billing.journal j {_OWN.format('j')}"
    " LEFT JOIN billing.transfer t ON t.journal = j.id"
    " WHERE j.kind IN ('hold', 'expire') ORDER BY j.id, t.seq"
)
_STATE = (_WALLET, _GRANTS, _HOLDS, _DRAWN, _JOURNAL)
_NAMES = ("together", "alone")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(gifts=GIFTS, amounts=st.lists(st.integers(0, 12), min_size=1, max_size=12))
def test_many_holds_are_the_same_as_one_by_one(till, gifts, amounts):
    example = till.session.begin_nested()
    try:
        for tenant in ("together", "alone"):
            _open(till, tenant, gifts)
        many = [(row.outcome, row.available) for row in _together(till, "together", amounts)]
        single = [
            tuple(till.session.execute(_ONE, each).one()) for each in _asked("alone", amounts)
        ]
        assert many == single
        for query in _STATE:
            both = [till.session.execute(text(query), {"tenant": name}).all() for name in _NAMES]
            assert both[0] == both[1]
    finally:
        example.rollback()


def test_what_is_short_replayed_or_frozen_goes_one_by_one(till):
    for tenant in _NAMES:
        _open(till, tenant, [(6, 100, None)])
    first = [row.outcome for row in _together(till, "together", [4, 3, 2])]
    assert first == ["placed", "insufficient", "placed"]
    again = [row.outcome for row in _together(till, "together", [4, 3, 2])]
    assert again == ["replayed", "insufficient", "replayed"]
    till.session.execute(text("UPDATE billing.wallet SET frozen_at = now(), frozen_reason = 'odd'"))
    assert [row.outcome for row in _together(till, "alone", [1, 1])] == ["frozen", "frozen"]
    assert [row.outcome for row in _together(till, "nobody", [1])] == ["no_wallet"]


def test_a_large_fold_draws_what_it_holds(till):
    _open(till, "together", [(100, 50, None), (100, 60, None), (400, 70, None)])
    rows = _together(till, "together", [2] * 300)
    assert [row.available for row in rows] == [from_number(600 - 2 * n) for n in range(1, 301)]
    drawn = till.session.execute(text("SELECT sum(amount), count(*) FROM billing.hold_grant")).one()
    held = till.session.execute(text("SELECT sum(held) FROM billing.token_grant")).scalar_one()
    assert (drawn[0], drawn[1], held) == (from_number(600), 300, from_number(600))


def _open(till, tenant, gifts):
    open_wallet(till.session, tenant)
    for tokens, priority, lasts in gifts:
        till.give(tokens, tenant=tenant, priority=priority, days=lasts)


def _asked(tenant, amounts):
    return [
        {
            "tenant": tenant,
            "hold": f"hold_{tenant}-{number:03}",
            "job": f"{tenant}-{number:03}",
            "amount": int(from_number(amount)),
            "expires_at": LATER,
            "now": NOW,
        }
        for number, amount in enumerate(amounts)
    ]


def _together(till, tenant, amounts):
    asked = _asked(tenant, amounts)
    values = {
        "tenant": tenant,
        "holds": [each["hold"] for each in asked],
        "jobs": [each["job"] for each in asked],
        "amounts": [each["amount"] for each in asked],
        "expire_at": [each["expires_at"] for each in asked],
        "none": [None] * len(asked),
        "now": NOW,
    }
    return till.session.execute(_PLACE, values).all()
