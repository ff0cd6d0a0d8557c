"""A worker's memory does not grow with its jobs; `make soak` is the long form of this."""

from pathlib import Path

from tests.bench.soak import AIM, measure


def test_memory_stays_where_it_was(database_url: str, tmp_path: Path) -> None:
    outcome = measure(database_url, tmp_path, after=80, jobs=240)
    assert outcome["growth"] <= AIM, outcome
