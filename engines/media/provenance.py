"""The origin of a result, said inside its file: it was made by a machine, by whose, as what.

Two forms: ``AIGC``, the JSON of the Chinese labelling measures (GB 45438-2025), and IPTC's Digital
Source Type in XMP, which C2PA uses too. Files are changed in place and never decoded.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from engines.errors import EngineFaultError, InvalidInputError
from engines.media.marks import jpeg, matroska, mp4, png, tiff, webp
from engines.media.marks.mark import PACKET_BYTES_MAX, Found, Mark
from engines.media.marks.xmp import aigc_of, source_type_of
from engines.media.sniff import SNIFF_BYTES, sniff
from engines.source_type import SourceType

PRODUCER: Final = "Pixelmeter"
_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_IS_GENERATED = "1"  # 2: possibly, 3: suspected


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of file is marked and read."""

    write: Callable[[BinaryIO, Mark], None]
    read: Callable[[BinaryIO], Found]


_MOVIE, _MATROSKA = _Kind(mp4.write, mp4.read), _Kind(matroska.write, matroska.read)
_KINDS: Mapping[str, _Kind] = {
    "image/png": _Kind(png.write, png.read),
    "image/jpeg": _Kind(jpeg.write, jpeg.read),
    "image/webp": _Kind(webp.write, webp.read),
    "image/tiff": _Kind(tiff.write, tiff.read),
    "video/mp4": _MOVIE,
    "video/quicktime": _MOVIE,
    "video/x-matroska": _MATROSKA,
    "video/webm": _MATROSKA,
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is said of one result."""

    source_type: SourceType
    produce_id: str  # of the run, unique at the producer
    producer: str = PRODUCER

    def mark(self) -> Mark:
        """In the two forms; the names of the JSON are those of the standard."""
        aigc = {
            "Label": _IS_GENERATED,
            "ContentProducer": self.producer,
            "ProduceID": self.produce_id,
            "ReservedCode1": "",
            "ContentPropagator": "",
            "PropagateID": "",
            "ReservedCode2": "",
        }
        return Mark(json.dumps(aigc, separators=(",", ":")), f"{_TERMS}{self.source_type}")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file says of its origin; nobody has signed it."""

    media_type: str
    aigc: Mapping[str, Any] | None
    digital_source_type: str | None  # address of a term


def mark_file(path: Path, provenance: Provenance) -> None:
    """Write the origin into a picture or video, in place.

    Raises:
        EngineFaultError: code ``output_unmarkable``: this kind of file has no place for it.
    """
    media_type = _type_of(path)
    kind = _KINDS.get(media_type or "")
    if kind is None:
        message = (
            f"a result of the type {media_type or 'unknown'} cannot be marked as made by AI; an "
            "engine gives PNG, JPEG, WebP, TIFF, MP4, MOV, Matroska or WebM"
        )
        fault = EngineFaultError(message, code="output_unmarkable")
        fault.retryable = False
        raise fault
    with path.open("r+b") as stream:
        kind.write(stream, provenance.mark())


def read_origin(path: Path) -> Origin:
    """What a picture or video says of its origin.

    Raises:
        InvalidInputError: ``unsupported_media``: no kind of file that is looked into.
    """
    media_type = _type_of(path)
    kind = _KINDS.get(media_type or "")
    if media_type is None or kind is None:
        message = "send a PNG, JPEG, WebP or TIFF picture, or an MP4, MOV, Matroska or WebM video"
        raise InvalidInputError(message, code="unsupported_media")
    with path.open("rb") as stream:
        found = kind.read(stream)
    said = found.aigc or (aigc_of(found.xmp) if found.xmp else None)
    term = found.source_type or (source_type_of(found.xmp) if found.xmp else None)
    return Origin(media_type, _parsed(said), term)


def _type_of(path: Path) -> str | None:
    with path.open("rb") as stream:
        return sniff(stream.read(SNIFF_BYTES))


def _parsed(said: str | None) -> Mapping[str, Any] | None:
    """The JSON, if it is an object; some wrap it in another one under its own name."""
    if said is None or len(said) > PACKET_BYTES_MAX:
        return None
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("AIGC"), dict):
        value = value["AIGC"]
    return value if isinstance(value, dict) else None
