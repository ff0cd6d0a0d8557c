from sqlalchemy.orm import Session

from app.jobs import speeds

HD, FULL_HD = (1280, 720), (1920, 1080)


def known(session: Session, size: tuple[int, int] = HD, model: str = "tiny@1") -> float | None:
    return speeds.ms_per_frame(session, engine="colorize", model=model, size=size)


def note(session: Session, *, frames: int, gpu_ms: float, size: tuple[int, int] = HD) -> None:
    speeds.note(session, engine="colorize", model="tiny@1", size=size, frames=frames, gpu_ms=gpu_ms)


def test_nothing_is_known_before_a_run(session: Session) -> None:
    assert known(session) is None


def test_runs_count_by_their_frames(session: Session) -> None:
    note(session, frames=100, gpu_ms=1000)
    note(session, frames=300, gpu_ms=6000)
    assert known(session) == 17.5


def test_what_was_known_fades(session: Session) -> None:
    note(session, frames=1_000_000, gpu_ms=10_000_000)
    note(session, frames=5000, gpu_ms=150_000)
    assert known(session) == 20.0


def test_models_and_sizes_are_known_apart_and_near_sizes_together(session: Session) -> None:
    note(session, frames=10, gpu_ms=100)
    assert known(session, model="paper@1") is None
    assert known(session, FULL_HD) is None
    assert known(session, (720, 1280)) == known(session, (1200, 720)) == 10.0


def test_a_run_without_frames_teaches_nothing(session: Session) -> None:
    note(session, frames=0, gpu_ms=100)
    assert known(session) is None
