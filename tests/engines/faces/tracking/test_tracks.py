import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.faces.tracks import Moment, Settings, Tracker

sys.path.insert(0, str(Path(__file__).resolve().parent))

from scene import FACE, FPS, Actor, Film, centre, somebody

EVERY = Settings(every=1)


def still(x: float, y: float = 200.0):
    return lambda _: (x, y)


def going(x: float, speed: float, y: float = 200.0):
    return lambda time: (x + speed * time, y)


def within(way, first: float, last: float):
    return lambda time: way(time) if first <= time < last else None


def numbers(shown) -> list[list[int]]:
    return [[each.track for each in frame] for frame in shown]


def test_one_face_is_one_track_on_every_frame():
    film = Film([Actor(going(100, 60), who=1)], frames=60)
    shown = film.run(Tracker())
    assert numbers(shown) == [[0]] * 60
    assert np.allclose(shown[30][0].vectors, somebody(1))
    assert shown[30][0].likeness(somebody(1)) == pytest.approx(1)
    assert shown[30][0].likeness(somebody(2)) < 0.5


def test_where_a_face_goes_straight_on_most_frames_are_not_looked_at():
    film = Film([Actor(going(100, 60), who=1)], frames=200)
    shown = film.run(Tracker(Settings(every=4)))
    assert len(film.looked) < 60
    assert [frame[0].is_seen for frame in shown].count(False) == 200 - len(film.looked)
    away = [centre(frame[0])[0] - (100 + 60 * n / FPS) for n, frame in enumerate(shown)]
    offset = FACE.mean(axis=0)[0] * 80 * 1.8
    assert np.abs(np.array(away) - offset).max() < 1.0


def test_where_a_face_turns_round_every_frame_is_looked_at():
    def way(time):
        return (200 + 40 * np.sin(2 * np.pi * 2 * time), 200)

    film = Film([Actor(way, who=1)], frames=48)
    film.run(Tracker(Settings(every=4)))
    assert len(film.looked) > 40


def test_between_two_looks_at_the_same_persons_nobody_is_recognised_again():
    def way(time):
        return (200 + 10 * np.sin(2 * np.pi * 2 * time), 200)

    film = Film([Actor(way, who=1), Actor(still(420), who=2)], frames=48)
    shown = film.run(Tracker(Settings(every=4)))
    assert numbers(shown) == [[0, 1]] * 48
    assert len(film.looked) > 40
    assert sorted(film.recognised) == [0, *range(3, 48, 4)]


@pytest.mark.parametrize("first", [9, 10, 11, 12])
def test_another_person_in_the_same_place_is_told_on_its_first_frame_without_a_cut(first):
    def way(time):
        return (200 + 20 * np.sin(2 * np.pi * 2 * time), 200)

    change = (first - 0.5) / FPS
    actors = [Actor(within(way, 0, change), who=1), Actor(within(way, change, 9), who=2)]
    film = Film(actors, frames=24)
    assert numbers(film.run(Tracker(Settings(every=4)))) == [[0]] * first + [[1]] * (24 - first)


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(1, 13),
    speed=st.floats(-200, 200),
    seen=st.sets(st.integers(0, 39), max_size=8),
)
def test_how_frames_are_cut_into_batches_changes_nothing(size, speed, seen):
    actors = [
        Actor(going(400, speed), who=1, missed=frozenset(seen)),
        Actor(still(150, 420), who=2),
    ]
    one = Film(actors, frames=40, noise_px=0.4).run(Tracker(EVERY), batch=40)
    other = Film(actors, frames=40, noise_px=0.4).run(Tracker(EVERY), batch=size)
    seen_in_one = [[each for each in frame if each.is_seen] for frame in one]
    seen_in_other = [[each for each in frame if each.is_seen] for frame in other]
    assert numbers(seen_in_one) == numbers(seen_in_other)


@settings(max_examples=20, deadline=None)
@given(
    every=st.integers(1, 6),
    batch=st.integers(1, 12),
    first=st.floats(0, 1.2),
    length=st.floats(0, 2),
    speed=st.floats(-300, 300),
)
def test_nobody_is_shown_before_coming_or_after_leaving(every, batch, first, length, speed):
    way = within(going(500, speed), first, first + length)
    film = Film([Actor(way, who=1), Actor(still(100), who=2)], frames=60)
    shown = film.run(Tracker(Settings(every=every)), batch=batch)
    for number, frame in enumerate(shown):
        there = 2 if way(number / FPS) is not None else 1
        assert len(frame) <= there, number
        # somebody who is there for less than from one look to the next may not be looked at
        assert len(frame) == there or length * FPS < every, number
    assert {each.track for frame in shown for each in frame} <= {0, 1}


@settings(max_examples=25, deadline=None)
@given(
    speeds=st.tuples(st.floats(20, 260), st.floats(-260, -20)),
    offset=st.floats(-60, 60),
    every=st.integers(1, 4),
    noise=st.floats(0, 1.5),
)
def test_two_persons_who_cross_are_never_exchanged(speeds, offset, every, noise):
    actors = [
        Actor(going(150, speeds[0]), who=1),
        Actor(going(450, speeds[1], y=200 + offset), who=2),
    ]
    shown = Film(actors, frames=75, noise_px=noise).run(Tracker(Settings(every=every)))
    whose: dict[int, int] = {}
    for number, frame in enumerate(shown):
        assert len(frame) == 2, number
        for each in frame:
            likeness = [each.likeness(somebody(who)) for who in (1, 2)]
            assert max(likeness) > 0.99
            who = int(np.argmax(likeness))
            assert whose.setdefault(each.track, who) == who
            way = actors[who].way(number / FPS)
            assert np.hypot(*(centre(each) - way - FACE.mean(axis=0) * 144)) < 6
    assert sorted(whose.values()) == [0, 1]


def test_persons_are_told_by_their_place_where_nothing_else_tells_them_apart():
    actors = [Actor(going(100, 30), who=None), Actor(going(500, -30), who=None)]
    shown = Film(actors, frames=50).run(Tracker())
    assert numbers(shown) == [[0, 1]] * 50
    assert len({tuple(np.argsort([centre(each)[0] for each in frame])) for frame in shown}) == 1
    assert shown[0][0].likeness(somebody(1)) == -1


def test_who_leaves_and_returns_is_known_again_and_others_are_not():
    actors = [
        Actor(within(still(100), 0, 1), who=1),
        Actor(within(still(500), 3, 4), who=1),
        Actor(within(still(500), 6, 7), who=2),
    ]
    shown = Film(actors, frames=180).run(Tracker())
    assert {each.track for frame in shown[:25] for each in frame} == {0}
    assert {each.track for frame in shown[75:100] for each in frame} == {0}
    assert {each.track for frame in shown[150:175] for each in frame} == {1}


def test_a_cut_to_another_person_in_the_same_place_is_another_track_told_or_not():
    actors = [
        Actor(within(still(200), 0, 1), who=1),
        Actor(within(still(203), 1, 2), who=2),
        Actor(within(still(198), 2, 3), who=1),
    ]
    for cuts in (frozenset({25, 50}), frozenset()):
        shown = Film(actors, frames=75, cuts=cuts).run(Tracker())
        assert numbers(shown) == [[0]] * 25 + [[1]] * 25 + [[0]] * 25


def test_after_a_cut_a_face_is_not_drawn_towards_where_it_was():
    actors = [
        Actor(within(still(200), 0, 1), who=1),
        Actor(within(still(260), 1, 2), who=1),
    ]
    shown = Film(actors, frames=50, cuts=frozenset({25})).run(Tracker())
    assert numbers(shown) == [[0]] * 50
    assert centre(shown[25][0])[0] - centre(shown[24][0])[0] == pytest.approx(60, abs=0.01)


def test_a_head_that_turns_away_stays_itself_by_its_place():
    # seen from the side an embedder says anything
    def side(time):
        return 0.8 if 1 <= time < 2 else 0.0

    film = Film([Actor(still(200), who=1, turn=side), Actor(still(420), who=2)], frames=75)
    plain = film.sight

    def sight(frame):
        return [
            each
            if not (25 <= frame < 50 and each.face.box[0] < 300)
            else type(each)(each.face, (0.4 * somebody(1) + 0.9 * somebody(9)).astype(np.float32))
            for each in plain(frame)
        ]

    film.sight = sight
    shown = film.run(Tracker(EVERY))
    assert numbers(shown) == [[0, 1]] * 75
    one = next(each for each in shown[74] if each.likeness(somebody(1)) > 0.9)
    assert one.likeness(somebody(9)) < 0.5  # sights from the side are not remembered


@pytest.mark.parametrize(("gap", "filled"), [(1, True), (3, True), (6, False)])
def test_a_face_that_detection_misses_for_a_moment_is_filled_in(gap, filled):
    missed = frozenset(range(10, 10 + gap))
    shown = Film([Actor(going(100, 50), who=1, missed=missed)], frames=24).run(
        Tracker(EVERY), batch=24
    )
    for number in missed:
        assert len(shown[number]) == filled
        assert not any(each.is_seen for each in shown[number])
    assert {each.track for frame in shown for each in frame} == {0}


@pytest.mark.parametrize("every", [1, 4])
def test_a_trembling_face_that_does_not_move_stands_still(every):
    film = Film([Actor(still(200), who=1, width=120)], frames=150, noise_px=1.0)
    shown = film.run(Tracker(Settings(every=every)))
    points = np.array([frame[0].face.points for frame in shown[15:]])
    raw = np.array([film.sight(number)[0].face.points for number in range(15, 150)])
    assert raw.std(axis=0).max() > 0.9
    assert points.std(axis=0).max() < 0.5
    assert np.sqrt((np.diff(points, axis=0) ** 2).mean()) < 0.25


@settings(max_examples=20, deadline=None)
@given(speed=st.floats(-600, 600), width=st.floats(20, 300))
def test_a_face_that_moves_is_not_held_back(speed, width):
    film = Film([Actor(going(3000, speed), who=1, width=width)], frames=50)
    shown = film.run(Tracker(EVERY))
    for number, frame in enumerate(shown[20:], start=20):
        where = film.sight(number)[0].face.points
        assert np.abs(frame[0].face.points - where).max() < 0.01 * width


def test_a_head_that_turns_in_its_place_is_followed():
    def turn(time):
        return 0.4 * np.sin(2 * np.pi * time)

    film = Film([Actor(still(200), who=1, width=100, turn=turn)], frames=60)
    shown = film.run(Tracker(EVERY))
    behind = [
        np.abs(frame[0].face.points[2] - film.sight(number)[0].face.points[2]).max()
        for number, frame in enumerate(shown)
    ]
    assert max(behind) < 0.08 * 100  # the nose sweeps over 80 pixels


def test_memory_does_not_grow_with_the_length_of_a_video():
    tracker = Tracker()
    rng = np.random.default_rng(5)

    def look(places):
        film = [
            Actor(still(float(rng.uniform(0, 4000)), float(rng.uniform(0, 4000))), who=None)
            for _ in range(3)
        ]
        film += [Actor(still(9000.0), who=int(rng.integers(0, 10_000)))]
        return [Film(film, frames=1).sight(0) for _ in places]

    sizes = []
    for start in range(0, 1200, 8):
        tracker.follow([Moment((start + n) / FPS) for n in range(8)], look)
        sizes.append(len(tracker._tracks))
    assert max(sizes[-100:]) <= max(sizes[20:60]) + 20
    assert max(sizes) < 64 + 200


def test_no_frames_are_no_faces_and_empty_frames_are_looked_at_seldom():
    assert Tracker().follow([], lambda _: []) == []
    film = Film([], frames=80)
    assert film.run(Tracker(Settings(every=4))) == [[]] * 80
    assert len(film.looked) == 21
