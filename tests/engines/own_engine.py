"""The engine that ``engines/README.md`` tells in full, as a folder; and its price."""

import json
import re
from pathlib import Path
from typing import Any

import engines

README = Path(engines.__file__).parent / "README.md"


def write_engine(parent: Path) -> Path:
    """The folder ``negative`` with the files of the README."""
    blocks = re.findall(r"`negative/(\S+)`\n\n```\w+\n(.*?)```", README.read_text(), re.DOTALL)
    folder = parent / "negative"
    folder.mkdir(parents=True)
    for name, text in blocks:
        (folder / name).write_text(text)
    assert sorted(path.name for path in folder.iterdir()) == [
        "engine.py",
        "engine.toml",
        "params.py",
    ]
    return folder


def price_card() -> dict[str, Any]:
    """Its price as the README tells it."""
    [text] = re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL)
    return json.loads(text)
