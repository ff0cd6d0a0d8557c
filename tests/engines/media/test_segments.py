from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import CanceledError, EngineFaultError
from engines.media.containers import AVI, MATROSKA, MP4, MPEGTS, WEBM
from engines.media.encoding import Encoding
from engines.media.index import VideoIndex, index_video
from engines.media.segments import join_segments, plan_segments
from engines.media.streams import Colour, Picture
from engines.media.video import scan_video
from tests.engines.media.parts import EXACT, Nobody, joined, parts_of, pictures, whole

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
    keys = sorted(pts[place] for place in key_places if place < len(pts))
    plan = plan_segments(index_of(pts, keys), frames_per_segment=frames_per_segment, most=most)
    assert 1 <= len(plan) <= most
    covered = []
    for number, segment in enumerate(plan):
        assert (segment.number, segment.of) == (number, len(plan))
        assert segment.start_pts in {pts[0], *keys}
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


def test_frames_before_the_first_key_frame_stay_with_those_after_it():
    pts = range(0, 4000, 40)
    plan = plan_segments(index_of(pts, pts[3::20]), frames_per_segment=4)
    assert plan[0].frames == 23


def test_key_frames_are_shown_frames_even_where_packets_are_not(clip):
    for name in ("hidden.webm", "old.avi", "broadcast.ts"):
        index = index_video(clip(name))
        assert set(index.keys) <= set(index.pts)


def test_a_plan_of_nothing_is_refused(clip):
    index = replace(index_of([0], [0]))
    with pytest.raises(ValueError, match="at least one"):
        plan_segments(index, frames_per_segment=0)


KEYED = [
    "keyed.mp4",
    "keyed_variable.mp4",
    "keyed_late.mkv",
    "keyed_open.mp4",
    "keyed.webm",
    "keyed.mov",
    "keyed_micro.mp4",
    "keyed_fragments.mp4",
    "keyed_turned.mp4",
    "keyed_cut.mp4",
]


@pytest.mark.parametrize("name", KEYED)
def test_a_video_in_parts_is_the_video_in_one_go(clip, packets, tmp_path, name):
    """Encoded without loss, what is decoded of both is every pixel that was given."""
    source = clip(name)
    parts, lost = parts_of(source, tmp_path)
    assert len(parts) > 3
    one, many = whole(source, tmp_path), joined(source, parts, tmp_path, lost=lost)
    assert pictures(many) == pictures(one)
    before, after, at_once = index_video(source), index_video(many), index_video(one)
    assert after.frames == before.frames - lost
    assert abs(after.duration_s - at_once.duration_s) <= float(after.time_base)
    assert after.picture == at_once.picture
    assert after.sample_aspect == at_once.sample_aspect
    assert after.tracks == at_once.tracks
    for place in range(sum(track.kind == "audio" for track in before.tracks)):
        assert packets(source, f"a:{place}") == packets(many, f"a:{place}")


def test_with_loss_a_part_boundary_is_a_closed_key_frame(clip, tmp_path):
    parts, _ = parts_of(clip("keyed.mp4"), tmp_path, encoding=Encoding())
    result = joined(clip("keyed.mp4"), parts, tmp_path, encoding=Encoding())
    plan = plan_segments(index_video(clip("keyed.mp4")), frames_per_segment=1, most=8)
    assert {segment.start_pts for segment in plan} <= set(index_video(result).keys)


def test_a_part_looks_at_frames_before_its_own_and_gives_only_its_own(clip):
    source = clip("keyed_open.mp4")
    index = index_video(source)
    segment = plan_segments(index, frames_per_segment=8)[3]
    seen = []
    work = scan_video(
        source,
        index=index,
        look=seen.append,
        batch=6,
        context=Nobody(),
        segment=segment,
        lead_in=10,
    )
    frames = [frame for batch in seen for frame in batch]
    assert [len({frame.lead_in for frame in batch}) for batch in seen] == [1] * len(seen)
    own = [frame for frame in frames if not frame.lead_in]
    assert [frame.index for frame in frames] == list(
        range(segment.first_frame - 10, segment.first_frame + segment.frames)
    )
    assert len(frames) - len(own) == 10
    assert work.frames == segment.frames == len(own)
    assert own[0].pts == segment.start_pts
    assert work.seconds == pytest.approx(segment.frames / 25)


def test_the_first_part_has_nothing_before_it(clip):
    index = index_video(clip("keyed.mp4"))
    segment, seen = plan_segments(index, frames_per_segment=8)[0], []
    scan_video(
        clip("keyed.mp4"),
        index=index,
        look=seen.extend,
        batch=8,
        context=Nobody(),
        segment=segment,
        lead_in=10,
    )
    assert [frame.pts for frame in seen] == list(index.pts[: segment.frames])
    assert not any(frame.lead_in for frame in seen)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda parts: parts[:-1], "frames"),
        (lambda parts: parts[1:], "frames"),
        (lambda parts: [parts[1], parts[0], *parts[2:]], "order"),
        (lambda parts: [*parts, parts[-1]], "order"),
    ],
)
def test_parts_that_are_not_the_whole_are_not_joined(clip, tmp_path, wrong, message):
    parts, _ = parts_of(clip("keyed.mp4"), tmp_path)
    with pytest.raises(EngineFaultError, match=message) as caught:
        joined(clip("keyed.mp4"), wrong(parts), tmp_path)
    assert caught.value.code == "segments_mismatch"
    assert not list(tmp_path.glob("joined*"))


def test_parts_encoded_differently_are_not_joined(clip, tmp_path):
    source = clip("keyed.mp4")
    index = index_video(source)
    parts, _ = parts_of(source, tmp_path)
    (tmp_path / "other").mkdir()
    others, _ = parts_of(source, tmp_path / "other", encoding=Encoding(crf=30, preset="medium"))
    with pytest.raises(EngineFaultError, match="different ways") as caught:
        join_segments(
            source,
            [parts[0], *others[1:]],
            tmp_path / "joined.mp4",
            index=index,
            encoding=EXACT,
            context=Nobody(),
        )
    assert caught.value.code == "segments_mismatch"


def test_a_canceled_join_leaves_nothing(clip, tmp_path):
    class Stopped(Nobody):
        def checkpoint(self):
            raise CanceledError("stopped by a test")

    source = clip("keyed.mp4")
    parts, _ = parts_of(source, tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CanceledError):
        join_segments(
            source,
            parts,
            tmp_path / "joined.mp4",
            index=index_video(source),
            encoding=EXACT,
            context=Stopped(),
        )
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["chapters.mkv", "chapters_alone.mp4"])
def test_chapters_and_subtitles_are_those_of_the_source(clip, packets, make, tmp_path, name):
    def chapters(path):
        told = make("-i", str(path), "-f", "ffmetadata", "-").decode()
        return [line for line in told.splitlines() if line.split("=")[0] in {"END", "title"}]

    source = clip(name)
    parts, _ = parts_of(source, tmp_path, most=3)
    for result in (whole(source, tmp_path), joined(source, parts, tmp_path)):
        assert [line for line in chapters(result) if "title" in line] == [
            "title=before",
            "title=after",
        ]
        assert len(chapters(result)) == 4
        if index_video(source).tracks:
            assert packets(source, "s") == packets(result, "s")


def test_parts_of_a_webm_are_joined_too(clip, packets, tmp_path):
    """VP9 hides frames inside of packets; there is one packet for each that is shown."""
    source, encoding = clip("keyed.webm"), Encoding(crf=0, container=WEBM)
    parts, _ = parts_of(source, tmp_path, most=3, encoding=encoding)
    result = joined(source, parts, tmp_path, encoding=encoding)
    index = index_video(result)
    assert (index.container, index.codec) == (WEBM, "vp9")
    assert pictures(result) == pictures(whole(source, tmp_path, encoding=encoding))
    assert packets(source, "a") == packets(result, "a")
