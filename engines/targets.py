"""Which files a word on the command line means."""

from glob import glob
from pathlib import Path

from engines.errors import InvalidInputError

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_VIDEOS = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".ts")
SUFFIXES = frozenset((*_PICTURES, *_VIDEOS))


def expand(word: str) -> list[Path]:
    """A file; the pictures and videos of a folder, by name, subfolders too; or a pattern's files.

    Raises:
        InvalidInputError: code ``file_missing``.
    """
    path = Path(word)
    if path.is_dir():
        inside = path.rglob("*")
        found = sorted(each for each in inside if each.suffix.lower() in SUFFIXES)
    elif path.is_file():
        found = [path]
    else:
        matches = glob(word, recursive=True)  # noqa: PTH207 - an absolute pattern is fine
        found = sorted(Path(match) for match in matches if Path(match).is_file())
    if not found:
        message = f"there is no picture or video {word}"
        raise InvalidInputError(message, code="file_missing")
    return found
