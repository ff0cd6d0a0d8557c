from fractions import Fraction

import pytest

from app.jobs.segment_usage import main_device, measured_of, sum_of
from app.jobs.usage import read_report, report_json
from engines.spec import UsageReport, Work


def report(device: str = "cuda:0 NVIDIA L4", *, frames: int = 10, ms: float = 5.0) -> UsageReport:
    return UsageReport(
        work=Work({"frames": frames, "input_pixels": 4096}, {"media": "video"}),
        model="yolov8s@1",
        device=device,
        runner="tensorrt",
        provider="TensorRT",
        precision="fp16",
        stages_ms={"infer": ms, "draw": 1.0},
        wall_ms=20.0,
        cold_start_ms=2.0,
        peak_memory_bytes=frames * 1000,
        plan="yolov8s.plan",
    )


def rows(*reports: UsageReport, wall_us: int = 50_000) -> list[dict[str, object]]:
    return [{"usage_report": report_json(each), "wall_us": wall_us} for each in reports]


def test_a_kept_report_reads_as_it_was() -> None:
    assert read_report(report_json(report())) == report()


def test_times_and_work_add_up_and_what_is_of_a_frame_does_not() -> None:
    total = sum_of([report(frames=10), report(frames=7, ms=2.5)])
    assert total.work == Work({"frames": 17, "input_pixels": 4096}, {"media": "video"})
    assert total.stages_ms == {"infer": 7.5, "draw": 2.0}
    assert (total.gpu_ms, total.wall_ms, total.cold_start_ms) == (9.5, 40.0, 4.0)
    assert total.peak_memory_bytes == 10_000
    assert (total.device, total.plan) == ("cuda:0 NVIDIA L4", "yolov8s.plan")


def test_one_device_needs_no_factor() -> None:
    factors = {"cuda:0 NVIDIA L4": Fraction(3)}
    found = measured_of(rows(report(), report()), factors=factors)
    assert [each.gpu_ms for each in found.reports] == [6.0, 6.0]
    assert found.wall_us == 100_000


def test_several_devices_are_told_in_the_time_of_the_busiest() -> None:
    """Half the speed, twice the time: priced by the factor of one device, both cost the same."""
    slow, fast = report("slow", ms=9.0), report("fast", ms=4.0)
    factors = {"slow": Fraction(1), "fast": Fraction(2)}
    found = measured_of(rows(slow, fast), factors=factors)
    assert {each.device for each in found.reports} == {"slow"}
    assert [each.gpu_ms for each in found.reports] == [10.0, 10.0]
    assert found.wall_us == 150_000
    assert main_device([slow, fast]) == "slow"


def test_nothing_measured_is_nothing() -> None:
    assert measured_of([]) == measured_of([], factors={})
    with pytest.raises(IndexError):
        sum_of([])
