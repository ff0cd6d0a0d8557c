"""The one secret of an installation: what is encrypted at rest and what signs links derive from it.

The value comes from ``PIXELMETER_SECRET_KEY`` or from ``PIXELMETER_HOME/secret.key``, created on
first use and readable by its owner only. Losing it makes stored webhook secrets unreadable.
"""

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

SECRET_LENGTH_MIN = 16


class SecretError(Exception):
    """Raised when the secret is too short or does not fit what it should open; no retry helps."""


class SecretBox:
    """Encrypts small texts and derives keys by purpose; never shows the secret itself."""

    def __init__(self, secret: str) -> None:
        if len(secret) < SECRET_LENGTH_MIN:
            message = (
                f"The secret key has {len(secret)} characters; give at least {SECRET_LENGTH_MIN}, "
                "for example the output of `openssl rand -base64 32`."
            )
            raise SecretError(message)
        self._root = hashlib.sha256(secret.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(self.derive("encryption at rest")))

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose; knowing it reveals neither the root nor the others."""
        return hmac.digest(self._root, purpose.encode(), "sha256")

    def encrypt(self, text: str) -> bytes:
        """Seal a text for the database."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, sealed: bytes) -> str:
        """Open what ``encrypt`` sealed.

        Raises:
            SecretError: it was sealed under another secret key, or was changed.
        """
        try:
            return self._fernet.decrypt(bytes(sealed)).decode()
        except InvalidToken:
            message = (
                "A stored secret does not open with this key. Start with the PIXELMETER_SECRET_KEY "
                "(or PIXELMETER_HOME/secret.key) that wrote it."
            )
            raise SecretError(message) from None


def open_secret_box(*, secret_key: str | None, home: Path) -> SecretBox:
    """The box of this installation; creates ``home/secret.key`` (mode 0600) when it needs to."""
    return SecretBox(secret_key if secret_key is not None else _own_key(home / "secret.key"))


def _own_key(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        # Linking a finished draft is atomic and refuses to replace: of several processes that
        # start at once one wins, and nobody reads a half-written key.
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(secrets.token_urlsafe(32))
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    return path.read_text().strip()
