"""Any order of events keeps the books right: the 23 invariants of the ledger (``ledger_books``).

PIXELMETER_FUZZ_EXAMPLES asks for more examples than the suite has time for (``make fuzz``).
"""

import os

import pytest

from tests.billing.ledger_books import run

EXAMPLES = int(os.environ.get("PIXELMETER_FUZZ_EXAMPLES", "300"))


@pytest.mark.timeout(0 if EXAMPLES > 300 else 900)
def test_any_order_of_events_keeps_the_books_right(priced_engine):
    run(priced_engine, examples=EXAMPLES)
