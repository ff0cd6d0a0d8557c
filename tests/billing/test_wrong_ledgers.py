"""The properties of the ledger are worth something: they notice ledgers that are wrong."""

import pytest
from hypothesis.errors import Flaky
from sqlalchemy.exc import DBAPIError

from billing.errors import BillingError
from tests.billing import mutants
from tests.billing.ledger_books import run


@pytest.mark.parametrize("mutant", mutants.IN_ONE_SESSION)
def test_the_properties_notice_a_wrong_ledger(priced_engine, mutant):
    with (
        mutants.planted(priced_engine, mutants.IN_ONE_SESSION[mutant]),
        # Flaky: an example may fail otherwise when it is run again.
        pytest.raises((AssertionError, DBAPIError, BillingError, Flaky)),
    ):
        run(priced_engine, examples=40, only_find=True)
