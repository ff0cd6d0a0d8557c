"""Video containers by their first bytes: which demuxer to force, which type to report."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_HEAD_BYTES = 4096
_TS_PACKET, _TS_SYNC = 188, 0x47
# AVIF and HEIC pictures begin like an MP4.
STILL_BRANDS = frozenset(
    {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
    | {b"mif1", b"msf1", b"miaf"}
)
_MOV_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_NESTING = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_PROTECTED = frozenset({b"encv", b"enca"})
_MAX_BOXES = 20_000


@dataclass(frozen=True, slots=True)
class Container:
    """One family of files that we open."""

    name: str  # mp4 | mov | matroska | webm | avi | mpegts
    demuxer: str  # as ffmpeg calls it
    media_type: str


MP4 = Container("mp4", "mov", "video/mp4")
MOV = Container("mov", "mov", "video/quicktime")
MATROSKA = Container("matroska", "matroska", "video/x-matroska")
WEBM = Container("webm", "matroska", "video/webm")
AVI = Container("avi", "avi", "video/x-msvideo")
MPEGTS = Container("mpegts", "mpegts", "video/mp2t")


def timestamps(container: Container) -> dict[str, None]:
    """Return ffmpeg's input option that keeps the times of a file as they are.

    Broadcast clocks start anywhere, so a transport stream alone counts from its own beginning.
    """
    return {} if container is MPEGTS else {"copyts": None}


def recognize(head: bytes) -> Container | None:
    """Return the container whose files begin like ``head`` (4 KiB are enough), or ``None``."""
    if head[4:8] in _MOV_BOXES:
        return _mov_family(head)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return WEBM if b"webm" in head[:64] else MATROSKA
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return AVI
    return MPEGTS if _looks_like_ts(head) else None


def _mov_family(head: bytes) -> Container | None:
    if head[4:8] != b"ftyp":
        return MOV
    brand = head[8:12]
    if brand in STILL_BRANDS:
        return None
    return MOV if brand == b"qt  " else MP4


def _looks_like_ts(head: bytes) -> bool:
    """Whether sync bytes come every 188 bytes (192 on Blu-ray, after a 4-byte time code)."""
    for start, step in ((0, _TS_PACKET), (4, _TS_PACKET + 4)):
        places = range(start, min(len(head), start + 5 * step), step)
        if len(places) > 1 and all(head[place] == _TS_SYNC for place in places):
            return True
    return False


def recognize_file(path: Path) -> Container | None:
    """Return the container of a file, read from its first 4 KiB."""
    with path.open("rb") as file:
        return recognize(file.read(_HEAD_BYTES))


def is_encrypted(path: Path) -> bool:
    """Whether an MP4 or MOV declares a protected track (Common Encryption).

    ffmpeg decodes such a file into garbage without a word about the reason.
    """
    with path.open("rb") as file:
        return _protected(file, 0, path.stat().st_size, [_MAX_BOXES])


def _protected(file: BinaryIO, start: int, end: int, budget: list[int]) -> bool:
    while start + 8 <= end and budget[0] > 0:
        budget[0] -= 1
        file.seek(start)
        header = file.read(16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        body = start + 8
        if size == 1:  # a 64-bit size follows
            size, body = int.from_bytes(header[8:16], "big"), start + 16
        size = size or end - start  # 0: up to the end
        if size < body - start:
            return False
        stop = min(start + size, end)
        if kind in _PROTECTED:
            return True
        if kind == b"stsd" and _protected(file, body + 8, stop, budget):
            return True
        if kind in _NESTING and _protected(file, body, stop, budget):
            return True
        start = stop
    return False
