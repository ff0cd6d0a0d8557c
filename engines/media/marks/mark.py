"""What is written into a file about its origin, and what was found in one."""

from dataclasses import dataclass

PACKET_BYTES_MAX = 1 << 20  # of XMP or JSON in a file; more is nobody's mark


@dataclass(frozen=True, slots=True)
class Mark:
    """A statement about a file, in the two forms that readers look for."""

    aigc: str  # JSON of the Chinese labelling standard, ASCII
    source_type: str  # address of a term of IPTC's Digital Source Type


@dataclass(frozen=True, slots=True)
class Found:
    """What a file says, as it stands there; None: nothing."""

    aigc: str | None = None
    xmp: bytes | None = None
    source_type: str | None = None  # only where the container has no place for XMP
