import time

import numpy as np
import pytest

from engines.manifest import ModelVersion
from engines.metering import (
    Execution,
    StageClock,
    cpu_name,
    peak_memory_bytes,
    share_ms,
    usage_report,
)
from engines.runners.fake import FakeRunner
from engines.spec import Work


def test_stages_are_billable_and_asides_are_not():
    clock = StageClock()
    with clock.stage("infer"):
        time.sleep(0.01)
    with clock.aside("decode"):
        time.sleep(0.01)
    clock.add("infer", 5.0)
    report = usage_report(
        clock,
        work=Work({"images": 1}),
        model=ModelVersion("net", "1", "fake"),
        execution=Execution.of(FakeRunner(lambda feeds: {}, inputs=(), outputs=())),
    )
    assert set(report.stages_ms) == {"infer"}
    assert 15 <= report.gpu_ms < report.wall_ms + 5.0
    assert clock.asides_ms["decode"] >= 10
    assert (report.model, report.runner) == ("net@1", "fake")


def test_a_stage_that_fails_is_counted_all_the_same():
    clock = StageClock()
    with pytest.raises(ValueError, match="boom"), clock.stage("infer"):
        raise ValueError("boom")
    assert clock.stages_ms["infer"] >= 0


def test_the_peak_is_of_this_run_and_not_of_an_earlier_one():
    StageClock()
    large = np.ones(200 * 1024 * 1024, dtype=np.uint8)
    high = peak_memory_bytes()
    del large
    StageClock()
    assert high - peak_memory_bytes() > 100 * 1024 * 1024


def test_the_processor_is_named():
    assert cpu_name().startswith("cpu:")
    assert len(cpu_name()) > len("cpu:")


@pytest.mark.parametrize("elapsed_ms", [0.0, 1e-9, 0.1, 26.300001, 1234.567891, 3.6e6 + 0.1])
@pytest.mark.parametrize("parts", [1, 2, 3, 7, 32])
def test_shares_are_equal_and_add_up_to_exactly_the_whole(elapsed_ms, parts):
    shares = share_ms(elapsed_ms, parts)
    assert len(shares) == parts
    assert sum(shares) == sum(reversed(shares)) == elapsed_ms
    assert max(shares) - min(shares) < 1e-4
