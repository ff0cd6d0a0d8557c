"""Names of pictures as ComfyUI's clients write them; labels in a table, never paths. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

NAME_LENGTH_MAX: Final = 200
SUBFOLDER_LENGTH_MAX: Final = 200
FOLDERS: Final = ("input", "output", "temp")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


class BadNameError(Exception):
    """Raised for a name that would lead out of its folder, or cannot be one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture is said to lie."""

    folder: str  # input | output | temp
    subfolder: str  # "" or "a/b"
    name: str

    def entry(self) -> dict[str, str]:
        """As ComfyUI tells it."""
        return {"filename": self.name, "subfolder": self.subfolder, "type": self.folder}


def place_of(name: str, *, subfolder: str, folder: str) -> Place:
    """The place of an upload.

    Raises:
        BadNameError: ``name`` holds a path, ``subfolder`` leads out, ``folder`` is none of ours.
    """
    if "/" in name:
        raise BadNameError("The file name holds a path; send the folder as `subfolder`.")
    if folder not in FOLDERS:
        raise BadNameError(f"The type must be one of {', '.join(FOLDERS)}.")
    return Place(folder, clean_subfolder(subfolder), _clean_name(name))


def annotated(text: str, *, folder: str = "input", subfolder: str = "") -> Place:
    """The place of ``name``, ``subfolder/name`` or ``name [temp]``; raises as ``place_of``."""
    for each in FOLDERS:
        if text.endswith(f"[{each}]"):
            text, folder = text.removesuffix(f"[{each}]").rstrip(), each
    before, _, name = text.rpartition("/")
    joined = "/".join(part for part in (subfolder, before) if part)
    return place_of(name, subfolder=joined, folder=folder)


def clean_subfolder(text: str) -> str:
    """A relative folder without empty parts; raises ``BadNameError`` where it leads out."""
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if text.startswith("/") or ".." in parts or _FORBIDDEN.search(text):
        raise BadNameError("The subfolder leads out of its folder.")
    joined = "/".join(parts)
    if len(joined) > SUBFOLDER_LENGTH_MAX:
        raise BadNameError(f"The subfolder is longer than {SUBFOLDER_LENGTH_MAX} characters.")
    return joined


def _clean_name(name: str) -> str:
    if name in {"", ".", ".."} or _FORBIDDEN.search(name):
        raise BadNameError("The file name is empty, or holds what no name can hold.")
    if len(name) > NAME_LENGTH_MAX:
        raise BadNameError(f"The file name is longer than {NAME_LENGTH_MAX} characters.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadNameError("The file name is no text.") from None
    return name


def numbered(name: str, number: int) -> str:
    """``photo.png`` as ``photo (1).png``: what an upload is called when its name is taken."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem} ({number}).{ending}" if dot and stem else f"{name} ({number})"


def expanded(prefix: str, *, width: int, height: int, now: datetime) -> tuple[str, str]:
    """Subfolder and stem of a ``filename_prefix``; %width%, %height% and times are filled in.

    Raises:
        BadNameError: it leads out of the output folder.
    """
    known = {
        "width": str(width),
        "height": str(height),
        "year": f"{now:%Y}",
        "month": f"{now:%m}",
        "day": f"{now:%d}",
        "hour": f"{now:%H}",
        "minute": f"{now:%M}",
        "second": f"{now:%S}",
    }
    for name, value in known.items():
        prefix = prefix.replace(f"%{name}%", value)
    before, _, stem = prefix.rpartition("/")
    if prefix.startswith("/"):
        raise BadNameError("The prefix leads out of the output folder.")
    return clean_subfolder(before), _clean_name(stem or "ComfyUI")


def saved_name(stem: str, number: int, ending: str) -> str:
    """``ComfyUI_00001_.png``."""
    return f"{stem}_{number:05}_{ending}"
