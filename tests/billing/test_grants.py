from datetime import timedelta

import pytest

from billing.amounts import from_number
from billing.errors import InvalidAmountError, ReplayMismatchError, UnknownWalletError
from billing.grants import expire_due, issue
from billing.wallets import balance, entries
from tests.billing.till import NOW


def give(till, **changes):
    values = {
        "tenant": "t",
        "amount": from_number(10),
        "kind": "purchase",
        "idem_key": "order:1",
        "actor": "shop",
        "now": NOW,
    }
    return issue(till.session, **{**values, **changes})


def test_a_grant_is_available_at_once(till):
    assert give(till).created
    assert balance(till.session, "t").available == from_number(10)


def test_the_same_key_gives_the_same_grant_once(till):
    first, second = give(till), give(till)
    assert (second.id, second.created) == (first.id, False)
    assert balance(till.session, "t").available == from_number(10)


@pytest.mark.parametrize(
    "changes", [{"amount": from_number(11)}, {"kind": "grant"}, {"priority": 1}]
)
def test_the_same_key_with_other_arguments_is_refused(till, changes):
    give(till)
    with pytest.raises(ReplayMismatchError):
        give(till, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"amount": 0}, {"amount": -5}, {"kind": "loan"}, {"expires_at": NOW}],
)
def test_a_grant_that_makes_no_sense_is_refused(till, changes):
    with pytest.raises(InvalidAmountError):
        give(till, **changes)


def test_a_tenant_without_a_wallet_gets_nothing(till):
    with pytest.raises(UnknownWalletError):
        give(till, tenant="nobody")


def test_what_has_expired_is_swept_into_breakage_once(till):
    till.give(5, days=1)
    till.give(7)
    assert expire_due(till.session, now=NOW + timedelta(days=1)) == 1
    assert expire_due(till.session, now=NOW + timedelta(days=2)) == 0
    assert balance(till.session, "t").available == from_number(7)
    line = entries(till.session, "t", limit=1)[0]
    assert (line.kind, line.amount, line.balance_after) == (
        "expire",
        -from_number(5),
        from_number(7),
    )


def test_what_has_expired_is_not_shown_even_before_the_sweep(till):
    till.give(5, days=1)
    assert balance(till.session, "t", now=NOW).available == from_number(5)
    after = balance(till.session, "t", now=NOW + timedelta(days=1))
    assert (after.available, after.grants) == (0, ())
