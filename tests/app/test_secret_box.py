"""One secret per installation: made once, private, and enough for everything."""

import stat
import threading
from pathlib import Path

import pytest

from app.secret_box import SecretBox, SecretError, open_secret_box


def test_what_is_sealed_opens_again_and_reads_as_noise() -> None:
    box = SecretBox("a secret of enough length")
    sealed = box.encrypt("whsec_abc")
    assert b"whsec" not in sealed
    assert box.decrypt(sealed) == "whsec_abc"
    assert box.decrypt(memoryview(sealed)) == "whsec_abc"  # type: ignore[arg-type]


def test_another_secret_does_not_open_it_and_says_what_to_do() -> None:
    sealed = SecretBox("a secret of enough length").encrypt("x")
    with pytest.raises(SecretError, match="PIXELMETER_SECRET_KEY"):
        SecretBox("another secret of enough length").decrypt(sealed)


def test_purposes_have_different_keys() -> None:
    box = SecretBox("a secret of enough length")
    assert box.derive("links") != box.derive("other")
    assert len(box.derive("links")) == 32


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SecretError, match="at least 16"):
        SecretBox("short")


def test_the_key_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    sealed = open_secret_box(secret_key=None, home=home).encrypt("x")
    path = home / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_secret_box(secret_key=None, home=home).decrypt(sealed) == "x"
    assert [entry.name for entry in home.iterdir()] == ["secret.key"]


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        keys.append(open_secret_box(secret_key=None, home=tmp_path).derive("x"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_given_key_needs_no_file(tmp_path: Path) -> None:
    open_secret_box(secret_key="a secret of enough length", home=tmp_path)
    assert list(tmp_path.iterdir()) == []
