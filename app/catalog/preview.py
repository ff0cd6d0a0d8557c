"""Old and new prices side by side, as JSON and as lines of a table. Pure."""

from datetime import timedelta
from typing import Any, Final

from billing.amounts import to_number
from billing.preview import Comparison

PREVIEW_PERIOD: Final = timedelta(days=7)


def comparison_view(found: Comparison) -> dict[str, Any]:
    """One row, in tokens."""
    return {
        "name": found.name,
        "jobs": found.jobs,
        "old_tokens": to_number(found.old),
        "new_tokens": to_number(found.new),
        "change_percent": found.change_percent,
        "unpriced": found.unpriced,
    }
