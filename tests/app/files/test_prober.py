"""A hostile file may kill the child that reads it, and nobody else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.errors import InvalidRequestError
from app.files.prober import Prober
from engines.media.limits import MediaLimits
from engines.spec import MediaKind


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    with Prober(limits=MediaLimits()) as prober:
        yield prober


def _children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if "engines.media.probe_child" in " ".join(child.cmdline())
    ]


@pytest.fixture
def picture(tmp_path: Path, photo: bytes) -> Path:
    path = tmp_path / "picture"
    path.write_bytes(photo)
    return path


def test_a_picture_is_described(prober: Prober, picture: Path) -> None:
    info = prober(picture)
    assert (info.kind, info.media_type) == (MediaKind.IMAGE, "image/png")
    assert (info.width, info.height) == (512, 512)
    assert info.bytes == picture.stat().st_size


def test_a_bad_file_has_its_own_code_and_the_child_lives_on(
    prober: Prober, tmp_path: Path, picture: Path
) -> None:
    bad = tmp_path / "bad"
    codes = []
    for content in (b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", picture.read_bytes()[:5000]):
        bad.write_bytes(content)
        with pytest.raises(InvalidRequestError) as refusal:
            prober(bad)
        codes.append(refusal.value.code)
    assert codes[:2] == ["empty_file", "unsupported_media"]
    assert len(set(codes)) == 3
    before = _children()
    prober(picture)
    assert _children() == before


def test_a_child_that_dies_is_replaced(prober: Prober, picture: Path) -> None:
    prober(picture)
    victims = _children()
    assert victims
    for victim in victims:
        victim.kill()
        victim.wait()
    assert prober(picture).width == 512


def test_a_file_that_stops_its_child_is_refused(picture: Path) -> None:
    with Prober(limits=MediaLimits(), children=1, timeout_s=1.0) as prober:
        prober(picture)
        [child] = _children_of(prober)
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(InvalidRequestError) as refusal:
            prober(picture)
        assert refusal.value.code == "media_unreadable"
        assert not psutil.pid_exists(child)
        # The first start of a new child takes longer than the short limit of this test allows.
        patient = Prober(limits=MediaLimits(), children=1)
        assert patient(picture).width == 512
        patient.close()


def _children_of(prober: Prober) -> list[int]:
    child = prober._slots.get()
    prober._slots.put(child)
    return [] if child is None else [child._process.pid]


def test_threads_share_the_children(prober: Prober, picture: Path) -> None:
    widths: list[int] = []

    def probe() -> None:
        widths.extend(prober(picture).width for _ in range(3))

    threads = [threading.Thread(target=probe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert widths == [512] * 12
    assert len(_children()) <= 2


def test_closing_ends_the_children(picture: Path) -> None:
    prober = Prober(limits=MediaLimits(), children=1)
    prober(picture)
    [pid] = _children_of(prober)
    prober.close()
    assert not psutil.pid_exists(pid)


def test_the_children_go_when_their_process_is_killed(picture: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from app.files.prober import Prober\n"
        "from engines.media.limits import MediaLimits\n"
        "prober = Prober(limits=MediaLimits())\n"
        "prober(Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(picture)], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        [child] = psutil.Process(parent.pid).children()
    finally:
        parent.kill()
        parent.communicate()
    deadline = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_child_knows_none_of_our_secrets(prober: Prober, picture: Path) -> None:
    prober(picture)
    for child in _children():
        assert set(child.environ()) <= {"PATH", "PYTHONPATH", "LC_ALL", "LC_CTYPE"}
