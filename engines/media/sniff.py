"""What a file is, by its first bytes. Names and declared types are never looked at."""

from engines.media.containers import STILL_BRANDS, recognize

SNIFF_BYTES = 4096
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
# Only to tell the caller what was sent; none of these is ever opened.
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"#EXTM3U", "an HLS playlist"),
    (b"ffconcat", "an ffmpeg concat list"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x01\x00", "an ICO icon"),
    (b"\x01\xda", "an SGI picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
)
_REFUSED_TEXT: tuple[tuple[bytes, str], ...] = (
    (b"<svg", "an SVG drawing"),
    (b"<mpd", "a DASH manifest"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
)


def sniff(first_bytes: bytes) -> str | None:
    """The IANA type of an accepted picture or video container; None for everything else.

    Args:
        first_bytes: the first ``SNIFF_BYTES`` of the file, or all of a shorter one.
    """
    for start, media_type in _STARTS:
        if first_bytes.startswith(start):
            return media_type
    if first_bytes.startswith(b"RIFF") and first_bytes[8:12] == b"WEBP":
        return "image/webp"
    # "BM" alone is too common in text: the two reserved words must be zero too
    if first_bytes.startswith(b"BM") and first_bytes[6:10] == bytes(4):
        return "image/bmp"
    container = recognize(first_bytes)
    return container.media_type if container else None


def refused_kind(first_bytes: bytes) -> str:
    """What a refused file seems to be, for the error message."""
    for start, kind in _REFUSED:
        if first_bytes.startswith(start):
            return kind
    if first_bytes[4:8] == b"ftyp" and first_bytes[8:12] in STILL_BRANDS:
        return "an AVIF or HEIC picture"
    text = first_bytes.lower()
    for mark, kind in _REFUSED_TEXT:
        if mark in text:
            return kind
    return "neither a picture nor a video we know"
