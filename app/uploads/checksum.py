"""What the body of one request has to add up to (tus, *Checksum*)."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.errors import InvalidRequestError, ProblemError

if TYPE_CHECKING:
    from hashlib import _Hash

ALGORITHMS: Final = ("md5", "sha1", "sha256")
MISMATCH: Final = 460  # tus


@dataclass(frozen=True, slots=True)
class Checksum:
    """A digest that the caller gave."""

    algorithm: str  # of ``ALGORITHMS``
    digest: bytes

    def begin(self) -> "_Hash":
        """A digest to be fed with the body."""
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def check(self, found: "_Hash") -> None:
        """Compare with what came.

        Raises:
            ProblemError: ``checksum_mismatch``, status 460.
        """
        if hmac.compare_digest(found.digest(), self.digest):
            return
        encoded = base64.b64encode(found.digest()).decode()
        detail = f"The {self.algorithm} of the body is {encoded}. It does not count; send it again."
        problem = ProblemError(detail, code="checksum_mismatch", status=MISMATCH)
        problem.title = "Checksum mismatch"
        raise problem


def checksum_of(header: str) -> Checksum:
    """Read ``Upload-Checksum``, such as ``sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=``.

    Raises:
        InvalidRequestError: ``unsupported_checksum``.
    """
    algorithm, _, encoded = header.partition(" ")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except ValueError:
        digest = b""
    if algorithm not in ALGORITHMS or len(digest) != hashlib.new(algorithm).digest_size:
        detail = f"Upload-Checksum is {', '.join(ALGORITHMS)}, then a space and the base64 digest."
        raise InvalidRequestError(detail, code="unsupported_checksum", status=400)
    return Checksum(algorithm, digest)
