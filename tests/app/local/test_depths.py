import pytest

from app.local.depths import read_depths
from app.local.errors import AddressError
from app.local.ports import free_port


def test_an_idle_platform_has_nothing_waiting_and_a_redis_that_is_away_is_said(database_url):
    depths = read_depths(database_url, f"redis://127.0.0.1:{free_port()}/0")
    assert depths.jobs == {"queued": 0, "starting": 0, "processing": 0, "finalizing": 0}
    assert (depths.oldest_queued_s, depths.unsettled, depths.deliveries_due) == (None, 0, 0)
    assert set(depths.queues.values()) == {None}


def test_a_database_that_is_away_is_a_sentence():
    with pytest.raises(AddressError, match="PostgreSQL does not answer"):
        read_depths(f"postgresql://x@127.0.0.1:{free_port()}/x", "redis://x")
