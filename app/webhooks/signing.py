"""Standard Webhooks signatures. Pure: secrets, ids and bodies in, header values out."""

import base64
import binascii
import hashlib
import hmac
import secrets

PREFIX = "whsec_"
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64


class InvalidSecretError(ValueError):
    """Raised when a signing secret is not ``whsec_`` and base64 of 24 to 64 bytes."""


def new_secret() -> str:
    """Return a fresh ``whsec_`` secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def secret_bytes(secret: str) -> bytes:
    """Decode a ``whsec_`` secret into the key of the HMAC; raises ``InvalidSecretError``."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise InvalidSecretError(
            f"A webhook secret is {PREFIX} followed by base64 of "
            f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes."
        )
    return key


def sign(secret: str, msg_id: str, timestamp: int, body: str) -> str:
    """Return the ``webhook-signature`` value ``v1,<base64>`` for one attempt.

    Args:
        secret: a ``whsec_`` secret.
        msg_id: the ``webhook-id`` header; the same for every attempt and replay.
        timestamp: the ``webhook-timestamp`` header: unix seconds of this attempt.
        body: the exact text that is sent.
    """
    content = f"{msg_id}.{timestamp}.{body}".encode()
    digest = hmac.new(secret_bytes(secret), content, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def headers(secret: str, msg_id: str, timestamp: int, body: str) -> dict[str, str]:
    """Return the headers of one signed attempt."""
    return {
        "Content-Type": "application/json",
        "webhook-id": msg_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, msg_id, timestamp, body),
    }
