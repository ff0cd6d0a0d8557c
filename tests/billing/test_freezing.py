"""A frozen wallet holds nothing new, settles what runs, and thaws."""

import pytest

from billing.errors import FrozenWalletError, UnknownWalletError
from billing.freezing import freeze, frozen, unfreeze
from billing.settlement import settle
from tests.billing.till import NOW


def test_a_frozen_wallet_refuses_new_holds_and_settles_what_runs(till):
    till.give(20)
    till.hold("running", 6)
    state, changed = freeze(till.session, tenant="t", reason="odd usage")
    assert (state.reason, changed) == ("odd usage", True)
    with pytest.raises(FrozenWalletError) as refused:
        till.hold("new", 1)
    assert refused.value.code == "tenant_frozen"
    assert till.hold("running", 6).replayed
    till.end("running", images=4)
    settled = settle(till.session, job="running", now=NOW)
    assert settled is not None
    assert settled.charged == 4_000_000


def test_freezing_twice_keeps_the_first_reason_and_unfreezing_ends_it(till):
    till.give(20)
    freeze(till.session, tenant="t", reason="first")
    again, changed = freeze(till.session, tenant="t", reason="second")
    assert (again.reason, changed) == ("first", False)
    assert frozen(till.session, tenant="t") == again
    assert unfreeze(till.session, tenant="t")
    assert not unfreeze(till.session, tenant="t")
    assert frozen(till.session, tenant="t") is None
    assert not till.hold("new", 1).replayed


def test_only_a_wallet_can_be_frozen(till):
    with pytest.raises(UnknownWalletError):
        freeze(till.session, tenant="nobody", reason="x")
    with pytest.raises(UnknownWalletError):
        unfreeze(till.session, tenant="nobody")
