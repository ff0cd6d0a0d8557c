import sys
from pathlib import Path

import numpy as np

from engines.faces.nets.embedder import unit
from engines.faces.tracking.person import SIGHTS_MAX, Person
from engines.faces.tracking.seen import Seen

sys.path.insert(0, str(Path(__file__).resolve().parent))

from scene import face_at, somebody


def sight(vector: np.ndarray | None, *, width: float = 80, turn: float = 0.0) -> Seen:
    return Seen(face_at(200, 200, width=width, turn=turn), vector)


def like(number: int, share: float, other: int) -> np.ndarray:
    """Somebody who looks a little like somebody else."""
    return unit(somebody(number) + share * somebody(other))


def test_nobody_is_known_before_a_sight_and_without_vectors():
    person = Person()
    person.add(sight(None))
    assert person.vectors.shape[0] == 0
    assert not person.is_known
    assert person.likeness(somebody(1)) == -1


def test_sights_of_a_turned_head_count_until_one_from_the_front():
    person = Person()
    person.add(sight(somebody(2), turn=0.9))
    assert person.likeness(somebody(2)) > 0.99
    assert not person.is_known
    person.add(sight(somebody(1)))
    person.add(sight(somebody(3), turn=0.9))
    assert person.is_known
    assert len(person.vectors) == 1
    assert person.likeness(somebody(1)) > 0.99
    assert person.likeness(somebody(2)) < 0.3


def test_what_says_nothing_new_is_not_kept_unless_it_is_larger():
    person = Person()
    person.add(sight(somebody(1), width=40))
    person.add(sight(like(1, 0.2, 2), width=45))
    assert np.allclose(person.vectors, somebody(1))
    larger = like(1, 0.2, 3)
    person.add(sight(larger, width=90))
    assert np.allclose(person.vectors, larger)


def test_large_sights_drive_out_small_ones_and_there_are_few():
    person = Person()
    for number in range(SIGHTS_MAX + 3):
        person.add(sight(like(1, 2.0, 10 + number), width=20 + number))
    assert len(person.vectors) == SIGHTS_MAX
    person.add(sight(like(1, 2.0, 50), width=100))
    assert len(person.vectors) == SIGHTS_MAX
    assert person.likeness(like(1, 2.0, 50)) > 0.99
