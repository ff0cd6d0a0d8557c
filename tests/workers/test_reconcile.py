"""The books are compared once a night, and what jobs left undone is found."""

from datetime import UTC, datetime

import pytest

from tests.workers.miniature import Platform
from workers.reconcile import reconcile_nightly

NIGHT = datetime(2026, 3, 1, 3, tzinfo=UTC)


def test_the_night_reconciles_once_whoever_asks(platform: Platform) -> None:
    assert reconcile_nightly(platform.services, now=NIGHT.replace(hour=1)) is None
    outcome = reconcile_nightly(platform.services, now=NIGHT)
    assert outcome is not None
    assert (outcome.findings, outcome.frozen) == ((), ())
    assert reconcile_nightly(platform.services, now=NIGHT.replace(hour=4)) is None


@pytest.mark.parametrize(
    ("status", "codes"),
    [("failed", {"job_hold_open", "job_unresolved"}), ("queued", set())],
)
def test_a_job_that_ended_without_a_resolution_is_found(
    platform: Platform, status: str, codes: set[str]
) -> None:
    job = platform.submit()
    if status == "failed":
        platform.change(
            "UPDATE job SET status = 'failed', finished_at = now() - interval '2 hours'"
            " WHERE id = :id",
            id=job,
        )
    outcome = reconcile_nightly(platform.services, now=NIGHT)
    assert outcome is not None
    assert {found.code for found in outcome.findings} == codes
    assert all(found.subject == f"job {job}" for found in outcome.findings)
    assert outcome.frozen == ((platform.tenant,) if codes else ())
