"""Where a picture ends inside its file, without decoding it.

A picture with an archive or a page behind it is two files in one: what scans one may miss the
other. Such files are refused, except for the trailers that phones really write.
"""

import re
from collections.abc import Callable

from engines.errors import InvalidInputError

_PADDING = b"\x00\t\r\n "
_JPEG_START = b"\xff\xd8"
_JPEG_MARK = 0xFF  # begins every marker; repeated it is filling
_JPEG_END = 0xD9
_JPEG_SCAN = 0xDA
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PNG_SIGNATURE = 8
_GIF_EXTENSION, _GIF_IMAGE, _GIF_END = 0x21, 0x2C, 0x3B
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22
_ZIP_COMMENT_MAX = 65_535
_JPEG_TRAILERS_MAX = 8  # multi-picture files hold a few more JPEGs


def check_structure(data: bytes, media_type: str) -> None:
    """Refuse a picture that is cut off or carries another file behind its end.

    Args:
        data: the whole file (bytes or anything that slices like them).
        media_type: as sniffed; TIFF and BMP have no end mark and are only looked at for archives.

    Raises:
        InvalidInputError: code ``image_truncated`` or ``trailing_data``.
    """
    find_end = _ENDS.get(media_type)
    if find_end is not None:
        end = find_end(data, 0)
        if end is None or end > len(data):
            message = "the picture is cut off before its end; send the whole file"
            raise InvalidInputError(message, code="image_truncated")
        if not _harmless_tail(data, end, media_type):
            raise _trailing(len(data) - end)
    if _has_zip_end(data):
        raise _trailing(None)


def _harmless_tail(data: bytes, end: int, media_type: str) -> bool:
    """Whether what follows is padding or a trailer that cameras write behind a JPEG."""
    for _ in range(_JPEG_TRAILERS_MAX):
        tail = bytes(data[end : end + 4096]).lstrip(_PADDING)
        if not tail:
            return not bytes(data[end:]).strip(_PADDING)
        if media_type != "image/jpeg":
            return False
        start = data.find(tail[:2], end)
        # a motion photo (the zeros of its box length are stripped above) or a Samsung trailer
        if b"ftyp" in tail[:8] or data[-4:] == b"SEFT":
            return True
        if not tail.startswith(_JPEG_START):
            return False
        end = _end_of_jpeg(data, start) or len(data)
    return False


def _end_of_jpeg(data: bytes, start: int) -> int | None:
    at = start + 2
    while at + 2 <= len(data):
        if data[at] != _JPEG_MARK:
            return None
        marker = data[at + 1]
        if marker == _JPEG_MARK:
            at += 1
        elif marker == _JPEG_END:
            return at + 2
        elif marker in _JPEG_BARE:
            at += 2
        else:
            at = _after_segment(data, at, is_scan=marker == _JPEG_SCAN)
    return None


def _after_segment(data: bytes, at: int, *, is_scan: bool) -> int:
    if at + 4 > len(data):
        return len(data)
    after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if not is_scan:
        return after
    following = _NEXT_MARKER.search(data, after)
    return following.start() if following else len(data)


def _end_of_png(data: bytes, start: int) -> int | None:
    at = start + _PNG_SIGNATURE
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return at
    return None


def _end_of_webp(data: bytes, start: int) -> int | None:
    size = int.from_bytes(data[start + 4 : start + 8], "little")
    end = start + 8 + size
    # some writers leave out the padding byte of an odd last chunk
    return min(end + size % 2, len(data)) if end <= len(data) else None


def _end_of_gif(data: bytes, start: int) -> int | None:
    if len(data) < start + 13:
        return None
    at = start + 13 + _table_bytes(data[start + 10])
    while at < len(data):
        block = data[at]
        if block == _GIF_END:
            return at + 1
        if block == _GIF_EXTENSION:
            at = _after_sub_blocks(data, at + 2)
        elif block == _GIF_IMAGE and at + 10 <= len(data):
            at = _after_sub_blocks(data, at + 11 + _table_bytes(data[at + 9]))
        else:
            return None
    return None


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _has_zip_end(data: bytes) -> bool:
    """Whether an archive ends exactly where the file ends, as unzippers look for it."""
    at = len(data)
    lowest = max(0, len(data) - _ZIP_END_BYTES - _ZIP_COMMENT_MAX)
    while (at := data.rfind(_ZIP_END, lowest, at)) >= 0:
        record = data[at : at + _ZIP_END_BYTES]
        if len(record) == _ZIP_END_BYTES:
            comment = int.from_bytes(record[20:22], "little")
            if at + _ZIP_END_BYTES + comment == len(data):
                return True
    return False


def _trailing(count: int | None) -> InvalidInputError:
    what = "an archive" if count is None else f"{count} bytes that do not belong to it"
    message = f"behind the picture the file carries {what}; save the picture again and send that"
    return InvalidInputError(message, code="trailing_data")


_ENDS: dict[str, Callable[[bytes, int], int | None]] = {
    "image/jpeg": _end_of_jpeg,
    "image/png": _end_of_png,
    "image/webp": _end_of_webp,
    "image/gif": _end_of_gif,
}
