"""Who, when and with what a TIFF says a picture was taken: carried over to a TIFF made from it."""

import struct
import warnings
from pathlib import Path

from PIL import Image, TiffImagePlugin

# Description, make, model, software, date, artist, host, copyright; the EXIF and GPS directories.
_KEPT = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298)
_DIRECTORIES = (0x8769, 0x8825)
_HEADER_BYTES, _ENTRY_BYTES = 8, 12
_STRIPS, _LONG = 0x0111, 4


def copy_tags(source: Path, target: Path) -> None:
    """Add the tags of the first page of ``source`` to ``target``, whose pixels stay where they are.

    A new directory is written behind the end and the header points to it. Tags that cannot be
    read say nothing about the pixels and are left out.
    """
    found = _tags(source)
    if not found:
        return
    with target.open("r+b") as stream:
        header = stream.read(_HEADER_BYTES)
        directory = TiffImagePlugin.ImageFileDirectory_v2(header)
        stream.seek(directory.next)
        directory.load(stream)
        for tag, value in found.items():
            if tag not in directory:
                directory[tag] = value
        end = stream.seek(0, 2)
        end += end % 2  # directories begin at even places
        order = "<" if header.startswith(b"II") else ">"
        stream.seek(end)
        stream.write(_directory_bytes(directory, at=end, order=order))
        stream.seek(4)
        stream.write(struct.pack(f"{order}L", end))


def _directory_bytes(
    directory: TiffImagePlugin.ImageFileDirectory_v2, *, at: int, order: str
) -> bytes:
    """The directory as it lies at a place of the file.

    Pillow moves the places of the strips behind the directory, where it writes pixels itself; they
    are put back.
    """
    tags = sorted(directory)
    for tag in tags:
        directory.get(tag)  # read now: what was never looked at is not written
    strips = directory.get(_STRIPS)
    directory.tagtype[_STRIPS] = _LONG
    content = bytearray(directory.tobytes(at))
    if strips is None:
        return bytes(content)
    entry = 2 + _ENTRY_BYTES * tags.index(_STRIPS) + 8
    places = struct.pack(f"{order}{len(strips)}L", *strips)
    (elsewhere,) = struct.unpack_from(f"{order}L", content, entry)
    where = entry if len(strips) == 1 else elsewhere - at
    content[where : where + len(places)] = places
    return bytes(content)


def _tags(path: Path) -> dict[int, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=["TIFF"]) as image:
                exif = image.getexif()
                kept: dict[int, object] = {tag: exif[tag] for tag in _KEPT if tag in exif}
                for tag in _DIRECTORIES:
                    if directory := dict(exif.get_ifd(tag)):
                        kept[tag] = directory
        except Exception:  # noqa: BLE001 - broken EXIF says nothing about the pixels
            return {}
        return kept
