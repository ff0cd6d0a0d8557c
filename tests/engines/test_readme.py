"""What the READMEs of the engines promise to list, they list."""

import re
from pathlib import Path

import pytest

import engines
from engines.manifest import load_manifest, shipped_folders

FOLDER = Path(engines.__file__).parent
README = (FOLDER / "README.md").read_text()


def test_every_code_an_engine_can_raise_is_listed():
    sources = "".join(path.read_text() for path in FOLDER.rglob("*.py"))
    codes = set(re.findall(r'\bcode ?= ?"([a-z_]+)"', sources))
    assert {code for code in codes if f"`{code}`" not in README} == set()


@pytest.mark.parametrize("folder", shipped_folders(), ids=lambda folder: folder.name)
def test_every_engine_tells_its_models_and_parameters(folder):
    text = (folder / "README.md").read_text()
    assert f"`{folder.name}/`" in README
    names = {model.name for model in load_manifest(folder / "engine.toml").models}
    # the sizes of a network are told in the line of its smallest
    told = {re.sub(r"^(yolo(?:v8|v10|11|26))[smblx]", r"\1n", name) for name in names}
    assert {name for name in told if f"`{name}" not in text} == set()
