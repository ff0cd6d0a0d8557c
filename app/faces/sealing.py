"""Vectors as they lie in the database: AES-256-GCM, bound to their place, under a key of theirs."""

import hmac
import secrets

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from app.secret_box import SecretError

KEY_BYTES = 32
_NONCE_BYTES = 12


class VectorSeal:
    """Seals and opens vectors under one key; knows nothing of whose they are."""

    def __init__(self, key: bytes) -> None:
        self._names = hmac.digest(key, b"place", "sha256")
        self._cipher = AESGCM(hmac.digest(key, b"vector", "sha256"))

    def place(self, model: str, sha256: str) -> bytes:
        """Where the vector of a content lies: says nothing about it without the key."""
        return hmac.digest(self._names, f"{model}\n{sha256}".encode(), "sha256")

    def close(self, vector: NDArray[np.float32], *, place: bytes) -> bytes:
        """Seal a vector [D] for its place."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = np.ascontiguousarray(vector, dtype="<f4").tobytes()
        return nonce + self._cipher.encrypt(nonce, plain, place)

    def open(self, sealed: bytes, *, place: bytes) -> NDArray[np.float32]:
        """The vector [D] that was sealed for this place.

        Raises:
            SecretError: it was sealed under another key or for another place, or was changed.
        """
        sealed = bytes(sealed)
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
        except InvalidTag:
            message = "A stored face does not open with this key; it was changed, or the key was."
            raise SecretError(message) from None
        return np.frombuffer(plain, dtype="<f4").astype(np.float32)
