import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.spec import Segment
from workers.segments.planning import planned, wanted_segments, work_bytes


def wanted(
    estimated_s: float,
    *,
    asked: int | None = None,
    most: int = 64,
    segment_s: int = 40,
    frames: int = 1000,
    overlap: int = 0,
) -> int:
    return wanted_segments(
        frames=frames,
        ms_per_frame=estimated_s * 1000 / frames,
        overlap=overlap,
        asked=asked,
        most=most,
        segment_s=segment_s,
    )


@pytest.mark.parametrize(
    ("estimated_s", "segments"), [(0, 1), (10, 1), (59, 1), (61, 2), (160, 4), (4000, 64)]
)
def test_a_short_video_is_one_run_and_a_long_one_is_cut_by_its_time(
    estimated_s: float, segments: int
) -> None:
    assert wanted(estimated_s) == segments


@given(st.floats(min_value=61, max_value=64 * 40))
def test_a_segment_takes_between_20_and_60_seconds(estimated_s: float) -> None:
    assert 20 <= estimated_s / wanted(estimated_s) <= 60


def test_who_asks_gets_what_the_tenant_may_have() -> None:
    assert wanted(1, asked=8) == 8
    assert wanted(10_000, asked=1) == 1
    assert wanted(1, asked=8, most=4) == 4
    assert wanted(10_000, most=1) == 1


def test_what_is_computed_in_vain_stays_below_a_quarter() -> None:
    assert wanted(4000, frames=1000, overlap=30) == 8
    assert wanted(4000, frames=100, overlap=30) == 1
    assert wanted(1, asked=8, frames=100, overlap=30) == 8


def test_an_operator_may_forbid_cutting() -> None:
    assert wanted(10_000, segment_s=0) == 1


def test_equal_work_has_equal_names_and_other_work_others() -> None:
    segments = [Segment(0, 2, 0, 10, 0, 100), Segment(1, 2, 10, 5, 100, None)]

    def names(content: str) -> list[str]:
        plan = planned(segments, content=content, ms_per_frame=2.5, frame_bytes=600)
        return [each.object_name for each in plan]

    assert names("a" * 64) == ["0-" + "a" * 16, "1-" + "a" * 16] == names("a" * 64)
    assert not set(names("a" * 64)) & set(names("b" * 64))


def test_segments_carry_their_share_of_time_and_disk() -> None:
    segments = [Segment(0, 2, 0, 10, 0, 100), Segment(1, 2, 10, 5, 100, None)]
    first, second = planned(segments, content="a", ms_per_frame=2.5, frame_bytes=300_000)
    assert (first.estimated_ms, second.estimated_ms) == (25, 12)
    assert first.work_bytes == work_bytes(10, 300_000) > second.work_bytes > 1_000_000
