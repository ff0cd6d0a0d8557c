from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.media.containers import AVI, MATROSKA, MP4, MPEGTS
from engines.media.index import VideoIndex, index_video
from engines.media.segments import plan_segments
from engines.media.streams import Colour, Picture

PICTURE = Picture("yuv420p", Colour(), "progressive")


def index_of(pts, keys, container=MP4, *, exact=True):
    return VideoIndex(
        container=container,
        bytes=1,
        codec="h264",
        time_base=Fraction(1, 1000),
        pts=tuple(pts),
        last_duration=40,
        width=64,
        height=48,
        sample_aspect=None,
        rotation=0,
        picture=PICTURE,
        tracks=(),
        exact=exact,
        keys=tuple(keys),
    )


@given(
    gaps=st.lists(st.integers(1, 90), min_size=1, max_size=200),
    start=st.integers(0, 10_000),
    key_places=st.sets(st.integers(0, 199)),
    frames_per_segment=st.integers(1, 250),
    most=st.integers(1, 70),
)
def test_segments_cover_every_frame_once_and_begin_at_key_frames(
    gaps, start, key_places, frames_per_segment, most
):
    pts = [start + sum(gaps[:place]) for place in range(len(gaps))]
    keys = sorted({pts[0], *(pts[place] for place in key_places if place < len(pts))})
    plan = plan_segments(index_of(pts, keys), frames_per_segment=frames_per_segment, most=most)
    assert 1 <= len(plan) <= most
    covered = []
    for number, segment in enumerate(plan):
        assert (segment.number, segment.of) == (number, len(plan))
        assert segment.start_pts in keys
        own = [p for p in pts if segment.start_pts <= p < (segment.end_pts or 1 << 60)]
        assert len(own) == segment.frames > 0
        assert pts[segment.first_frame] == segment.start_pts
        covered += own
    assert covered == pts
    assert plan[-1].end_pts is None


def test_parts_are_about_equally_long_where_key_frames_allow_it():
    pts = range(0, 40 * 600, 40)
    plan = plan_segments(index_of(pts, pts[::25]), frames_per_segment=75)
    assert [segment.frames for segment in plan] == [75] * 8


def test_a_cut_goes_to_the_nearest_key_frame():
    pts = range(0, 40 * 100, 40)
    plan = plan_segments(index_of(pts, [0, pts[47], pts[60]]), frames_per_segment=50)
    assert [segment.frames for segment in plan] == [47, 53]


@pytest.mark.parametrize(("container", "exact"), [(AVI, True), (MPEGTS, True), (MATROSKA, False)])
def test_what_can_only_be_read_from_its_beginning_is_not_cut(container, exact):
    pts = range(0, 4000, 40)
    index = index_of(pts, pts[::5], container, exact=exact)
    assert len(plan_segments(index, frames_per_segment=10)) == 1


def test_key_frames_of_a_real_file_are_where_it_says(clip, make, tmp_path):
    path = tmp_path / "keys.mp4"
    keyed = ("-c:v", "libx264", "-g", "10", "-bf", "2", "-sc_threshold", "0")
    make("-i", str(clip("constant.mp4")), *keyed, str(path))
    index = index_video(path)
    assert index.keys == index.pts[::10]
    assert [each.frames for each in plan_segments(index, frames_per_segment=25)] == [20, 30]


def test_a_video_with_hidden_or_untimed_frames_has_at_least_its_first_key_frame(clip):
    for name in ("hidden.webm", "old.avi"):
        index = index_video(clip(name))
        assert index.keys[0] == index.pts[0]
        assert set(index.keys) <= set(index.pts)


def test_a_plan_of_nothing_is_refused(clip):
    index = replace(index_of([0], [0]))
    with pytest.raises(ValueError, match="at least one"):
        plan_segments(index, frames_per_segment=0)
