import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from engines.media import ffmpeg as wrapper
from engines.media.ffmpeg import Bounds, Process, command, find_ffmpeg, reading, run

FOREVER = ["-f", "lavfi", "-i", "testsrc=s=64x64", "-f", "rawvideo", "pipe:1"]


def test_the_binary_can_encode_and_report_every_frame():
    text = subprocess.check_output([find_ffmpeg(), "-version"], text=True)
    assert "--enable-libx264" in text


def test_an_old_binary_on_the_path_is_passed_over(tmp_path, monkeypatch):
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\necho 'libavformat     58. 29.100 --enable-libx264'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert wrapper.find_ffmpeg.__wrapped__() != str(old)


def test_a_recent_binary_on_the_path_is_preferred(tmp_path, monkeypatch):
    recent = tmp_path / "ffmpeg"
    recent.write_text("#!/bin/sh\necho 'libavformat     61.  1.100 --enable-libx264'\n")
    recent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert wrapper.find_ffmpeg.__wrapped__() == str(recent)


def test_leaving_the_context_ends_the_process():
    with Process([*command(), *FOREVER], bounds=Bounds()) as process:
        pid = process.pid
        assert process.stdout.read(64) != b""
    assert not psutil.pid_exists(pid)


def test_an_exception_ends_the_process():
    pid = 0

    def fail() -> None:
        nonlocal pid
        with Process([*command(), *FOREVER], bounds=Bounds()) as process:
            pid = process.pid
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert not psutil.pid_exists(pid)


def test_the_process_dies_with_a_killed_parent():
    code = (
        "import time\n"
        "from engines.media.ffmpeg import Bounds, Process, command\n"
        f"process = Process([*command(), *{FOREVER!r}], bounds=Bounds())\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        child = psutil.Process(pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "ffmpeg outlived its parent"
        time.sleep(0.02)


def test_our_environment_does_not_reach_it(monkeypatch):
    monkeypatch.setenv("PIXELMETER_SECRET_KEY", "canary")
    with Process([*command(), *FOREVER], bounds=Bounds()) as process:
        process.stdout.read(1)
        assert b"canary" not in Path(f"/proc/{process.pid}/environ").read_bytes()


def test_its_limits_are_lowered():
    with Process([*command(), *FOREVER], bounds=Bounds(memory_bytes=4 << 30, cpu_s=77)) as process:
        process.stdout.read(1)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert re.search(rf"Max address space +{4 << 30} ", limits)
    assert re.search(r"Max cpu time +77 ", limits)
    assert re.search(r"Max core file size +0 ", limits)


def test_a_flood_of_messages_neither_blocks_nor_grows():
    source = ["-f", "lavfi", "-i", "testsrc=s=64x64:d=20", "-vf", "showinfo", "-f", "null", "-"]
    arguments = [*command(loglevel="info"), *source]
    finished = run(arguments, bounds=Bounds(), timeout_s=60, read=lambda out: None, head=10)
    assert finished.status == 0
    assert len(finished.messages.head) == 10
    assert len(finished.messages.tail) == 200


def test_a_run_that_takes_too_long_is_ended():
    begun = time.monotonic()
    arguments = [*command(), "-re", *FOREVER]
    finished = run(arguments, bounds=Bounds(), timeout_s=0.5, read=lambda out: out.read(1 << 30))
    assert finished.timed_out
    assert time.monotonic() - begun < 5


def test_no_thread_stays_behind():
    before = threading.active_count()
    run([*command(), "-version"], bounds=Bounds(), timeout_s=10, read=lambda out: out.read())
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n"),
        ("concat.mp4", "ffconcat version 1.0\nfile {target}\n"),
        (
            "dash.mp4",
            '<MPD type="static"><Period><BaseURL>{target}</BaseURL></Period></MPD>',
        ),
        (
            "drawing.mp4",
            '<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}"/></svg>',
        ),
    ],
)
@pytest.mark.parametrize("demuxer", ["mov", "matroska", "avi", "mpegts"])
def test_a_playlist_cannot_open_other_files(tmp_path, clip, name, content, demuxer):
    playlist = tmp_path / name
    playlist.write_text(content.format(target=clip("silent.mp4")))
    options = [part for key, value in reading(demuxer).items() for part in (f"-{key}", str(value))]
    arguments = [*command(), *options, "-i", str(playlist), "-f", "framecrc", "-"]
    seen = bytearray()
    finished = run(
        arguments, bounds=Bounds(), timeout_s=20, read=lambda out: seen.extend(out.read())
    )
    assert finished.status != 0
    assert seen == b""
