import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from engines.media.limits import MediaLimits


@pytest.fixture
def child():
    """The probing process, and a function that asks it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "engines.media.probe_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def ask(path):
        request = {"path": str(path), "limits": asdict(MediaLimits())}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    ask.process = process
    yield ask
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    process.stdout.close()


def peak_kb(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_one_child_answers_many_files_good_and_bad(child, tmp_path, photo):
    (tmp_path / "empty").write_bytes(b"")
    for _ in range(3):
        assert child(photo)["media_type"] == "image/png"
        assert child(tmp_path / "empty")["code"] == "empty_file"
        assert child(tmp_path / "absent")["code"] == "media_unreadable"


def test_memory_stays_small_over_every_hostile_file(child, test_media):
    for path in sorted((test_media / "hostile").iterdir()):
        answer = child(path)
        assert "media_type" in answer or answer["detail"], path.name
    assert peak_kb(child.process) < 200_000


def test_a_limit_of_the_caller_reaches_the_child(photo):
    limits = {**asdict(MediaLimits()), "max_image_pixels": 100}
    request = json.dumps({"path": str(photo), "limits": limits}).encode() + b"\n"
    done = subprocess.run(
        [sys.executable, "-m", "engines.media.probe_child"],
        input=request,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["code"] == "image_too_large"
