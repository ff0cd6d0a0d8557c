"""API keys as text: minting, and telling a mistyped key without asking the database. Pure.

``pm_live_<8>_<32>_<6>``: a public part that names the row, 32 secret characters (190 bits), and the
CRC-32 of all before it. Base 62 throughout, so a double click selects the secret alone.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass

from app.errors import AuthenticationError

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "pm_live"
PUBLIC_LENGTH = 8
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6

_FORM = re.compile(rf"({PREFIX}_([0-9A-Za-z]{{8}})_[0-9A-Za-z]{{32}})_([0-9A-Za-z]{{6}})")


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A fresh key; ``key`` is shown to its owner once and kept nowhere."""

    key: str
    public_part: str
    secret_hash: bytes

    def __repr__(self) -> str:
        """Keep the key out of logs and tracebacks."""
        return f"MintedKey(public_part={self.public_part!r})"


def mint() -> MintedKey:
    """Make a key from the operating system's randomness."""
    public_part = _random(PUBLIC_LENGTH)
    body = f"{PREFIX}_{public_part}_{_random(SECRET_LENGTH)}"
    key = f"{body}_{_checksum(body)}"
    return MintedKey(key=key, public_part=public_part, secret_hash=hash_key(key))


def parse(key: str) -> str:
    """The public part of a well-formed key.

    Raises:
        AuthenticationError: code ``key_malformed``; a character is wrong, missing or too many.
    """
    match = _FORM.fullmatch(key)
    if match is None or _checksum(match[1]) != match[3]:
        raise AuthenticationError(
            "The API key is not well-formed. Copy it again as a whole; it starts with pm_live_.",
            code="key_malformed",
        )
    return match[2]


def hash_key(key: str) -> bytes:
    """What is stored instead of the key; a fast hash is right for 190 random bits."""
    return hashlib.sha256(key.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
