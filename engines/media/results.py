"""A finished picture as the file that a job gives back."""

from pathlib import Path

from engines.media.images import Picture, output_type, suffix_of, write_image
from engines.spec import OutputFile


def save_picture(picture: Picture, folder: Path, *, stem: str, name: str) -> OutputFile:
    """Write a picture in the type it came in, or else as PNG.

    Args:
        picture: with the ``media_type`` of the file it was made from.
        folder: of the attempt.
        stem: of the written file, without an ending.
        name: what the customer sees, without an ending.
    """
    media_type = output_type(picture.media_type)
    path = folder / f"{stem}{suffix_of(media_type)}"
    write_image(picture, path, media_type=media_type)
    return OutputFile(path=path, media_type=media_type, name=f"{name}{path.suffix}")
