"""What a file is, by its first bytes. Names and declared types are never looked at."""

from collections.abc import Callable

SNIFF_BYTES = 4096
_TS_PACKET = 188
_TS_SYNC = 0x47
_STILL_BRANDS = frozenset(
    {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
)
_BARE_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_RIFF = {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
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
    checks: tuple[Callable[[bytes], str | None], ...] = (
        _sniff_riff,
        _sniff_bmp,
        _sniff_iso,
        _sniff_matroska,
        _sniff_transport_stream,
    )
    return next((found for check in checks if (found := check(first_bytes))), None)


def refused_kind(first_bytes: bytes) -> str:
    """What a refused file seems to be, for the error message."""
    for start, kind in _REFUSED:
        if first_bytes.startswith(start):
            return kind
    if first_bytes[4:8] == b"ftyp" and first_bytes[8:12] in _STILL_BRANDS:
        return "an AVIF or HEIC picture"
    text = first_bytes.lower()
    for mark, kind in _REFUSED_TEXT:
        if mark in text:
            return kind
    return "neither a picture nor a video we know"


def _sniff_riff(first: bytes) -> str | None:
    return _RIFF.get(first[8:12]) if first.startswith(b"RIFF") else None


def _sniff_bmp(first: bytes) -> str | None:
    # "BM" alone is too common in text: the two reserved words must be zero too
    is_bitmap = first.startswith(b"BM") and first[6:10] == bytes(4)
    return "image/bmp" if is_bitmap else None


def _sniff_iso(first: bytes) -> str | None:
    box, brand = first[4:8], first[8:12]
    if box in _BARE_QUICKTIME:
        return "video/quicktime"
    if box != b"ftyp" or brand in _STILL_BRANDS:
        return None
    return "video/quicktime" if brand == b"qt  " else "video/mp4"


def _sniff_matroska(first: bytes) -> str | None:
    if not first.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    is_webm = b"\x42\x82" in first[:64] and b"webm" in first[:64]
    return "video/webm" if is_webm else "video/x-matroska"


def _sniff_transport_stream(first: bytes) -> str | None:
    syncs = first[: 4 * _TS_PACKET : _TS_PACKET]
    enough = len(first) > 3 * _TS_PACKET
    return "video/mp2t" if enough and set(syncs) == {_TS_SYNC} else None
