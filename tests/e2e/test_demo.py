"""`pixelmeter demo` from nothing: its own platform, its own end."""

import re

from PIL import Image


def test_the_demo_shows_the_main_job_and_leaves_nothing_running(make_home, tmp_path):
    home = make_home()
    out = tmp_path / "out"
    done = home.run("demo", "--out", str(out))
    assert "Every job succeeded, every webhook verified, the ledger reconciles" in done.stdout
    rows = re.findall(r"^job_\w{26} +(\S+) +\S+ +succeeded", done.stdout, re.M)
    assert sorted(rows) == ["colorize"] * 2 + ["detect"] * 6 + ["face-swap"] * 2
    assert re.search(r"balance before 10,000, after 9,\d+", done.stdout)
    assert "10 webhooks received" in done.stdout
    assert str(out / "contact-sheet.png") in done.stdout
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.width > 1000
        assert sheet.height > 1000
    assert (out / "two-portraits-detect.mp4").stat().st_size > 10_000
    assert home.processes() == []
    assert home.sockets() == []
