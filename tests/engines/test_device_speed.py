"""The speed of a device is the median of a fixed workload, against a fixed reference."""

from decimal import Decimal

import numpy as np
import pytest

from engines.device_speed import SHAPE, factor, measure, workload_feeds, write_workload
from engines.runners.fake import FakeRunner
from engines.runners.network import Executed
from engines.runners.ort import open_onnx


class Timed(FakeRunner):
    """Says of each run that it took the next of the given times."""

    def __init__(self, times):
        super().__init__(lambda feeds: {}, inputs=(), outputs=())
        self._times = iter(times)

    def _execute(self, feeds):
        return Executed({}, {"upload": 1000.0, "execute": next(self._times)})


def test_the_first_runs_and_the_transfers_do_not_count():
    speed = measure(Timed([900, 900, 900, 10, 12, 14, 11, 13]), {}, rounds=5)
    assert (speed.median_ms, speed.rounds, speed.device) == (12, 5, "fake")


def test_one_round_that_was_disturbed_moves_neither_median_nor_noise():
    quiet = measure(Timed([0, 0, 0] + [10.0] * 9), {}, rounds=9)
    disturbed = measure(Timed([0, 0, 0] + [10.0] * 8 + [500.0]), {}, rounds=9)
    assert (quiet.median_ms, quiet.noise) == (disturbed.median_ms, disturbed.noise) == (10, 0)
    restless = measure(Timed([0, 0, 0, 8, 9, 10, 11, 12]), {}, rounds=5)
    assert restless.noise == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("median_ms", "reference_ms", "expected"),
    [
        (1, 1, "1.00"),
        (0.5, 1, "2.00"),
        (80, 1, "0.0125"),
        (3, 1, "0.333"),
        (1e9, 1, "0.000001"),
        (0.013, 1, "76.9"),
        (86.4, 43.2, "0.500"),
    ],
)
def test_a_device_that_takes_half_as_long_has_factor_two(median_ms, reference_ms, expected):
    assert factor(median_ms, reference_ms=reference_ms) == Decimal(expected)


def test_the_workload_is_the_same_bytes_everywhere_and_its_values_stay_in_bounds(tmp_path):
    (tmp_path / "again").mkdir()
    first, second = write_workload(tmp_path), write_workload(tmp_path / "again")
    assert first.sha256 == second.sha256
    with open_onnx(first.path, threads=1) as runner:
        [answer] = runner.run(workload_feeds()).values()
    assert answer.shape == SHAPE
    assert 0.1 < float(np.std(answer)) < 10
