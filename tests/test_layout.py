"""The house stands as ARCHITECTURE.md draws it."""

import configparser
import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"app", "workers", "billing", "engines", "alembic", "deploy", "tests"}
BANNED_NAMES = {"utils", "helpers", "common", "manager", "managers", "misc"}


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return [Path(name) for name in listing.stdout.split("\0") if name]


def test_the_root_holds_exactly_the_agreed_folders() -> None:
    folders = {path.parts[0] for path in tracked_files() if len(path.parts) > 1}
    assert folders - {".ci"} == ROOMS


@pytest.mark.parametrize("room", ["app", "workers", "billing", "engines"])
def test_our_room_wins_over_a_strangers_package_of_that_name(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().parent == ROOT / room


def test_the_migrations_folder_does_not_shadow_the_alembic_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert hasattr(importlib.import_module("alembic.config"), "Config")


def test_no_module_is_a_dumping_ground() -> None:
    names = {path.stem for path in tracked_files() if path.suffix == ".py"}
    assert not names & BANNED_NAMES


def test_tests_are_no_packages() -> None:
    assert not [path for path in tracked_files() if path.match("tests/**/__init__.py")]


def test_no_third_party_media_or_weights_are_tracked() -> None:
    suffixes = {".onnx", ".pt", ".pth", ".mp4", ".mkv", ".webm", ".jpg", ".jpeg", ".tif", ".gif"}
    assert not [path for path in tracked_files() if path.suffix.lower() in suffixes]


def test_the_readme_tells_every_setting() -> None:
    source = (ROOT / "app" / "settings.py").read_text()
    names = set(re.findall(r'"((?:PIXELMETER_|DATABASE_|REDIS_|STORAGE_)[A-Z_]+)"', source))
    readme = (ROOT / "README.md").read_text()
    assert names
    assert not {name for name in names if f"`{name}`" not in readme}


def test_the_readme_tells_every_engine() -> None:
    readme = (ROOT / "README.md").read_text()
    folders = [path.parent for path in (ROOT / "engines").glob("*/engine.toml")]
    assert len(folders) >= 3
    for folder in folders:
        assert f"engines/{folder.name}/README.md" in readme


def test_every_room_says_what_it_owns_and_what_it_does_not() -> None:
    for readme in ("billing", "engines", "workers", "app/api"):
        opening = (ROOT / readme / "README.md").read_text()[:3000].lower()
        for word in ("owns", "does not own", "invariants"):
            assert word in opening, f"{readme}/README.md must say: {word}"


def test_make_help_lists_every_public_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("help", "up", "down", "demo", "check", "test", "bench"):
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)


def test_the_lock_pins_every_dependency_with_hashes_and_names_no_index() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = [config["options"]["install_requires"]]
    wanted += [config["options.extras_require"][extra] for extra in ("demo", "dev")]
    lock = (ROOT / "requirements.lock").read_text()
    locked = set(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[a-z0-9,]+\])?==", lock, re.MULTILINE))
    for line in "\n".join(wanted).split("\n"):
        if name := re.match(r"[A-Za-z0-9_.-]+", line.strip()):
            assert re.sub(r"[-_.]+", "-", name[0]).lower() in locked
    assert "http://" not in lock
    assert "https://" not in lock
    assert lock.count("--hash=sha256:") >= len(locked)
