"""Where everything of one home lies on disk."""

import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.local.errors import HomeError

PRIVATE = 0o700
# sun_path holds 108 bytes with its NUL; a few are kept for the temporary names servers use.
SOCKET_PATH_BYTES_MAX = 100

CODE_ROOT = Path(__file__).resolve().parent.parent.parent
"""The folder that holds ``app`` and ``alembic``; children start here, so no namesake can win."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files and folders below one PIXELMETER_HOME."""

    home: Path

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.home / "logs"

    @property
    def postgres(self) -> Path:
        """The data folder of the embedded PostgreSQL; owned by its user."""
        return self.home / "postgres"

    @property
    def redis(self) -> Path:
        """The append-only files of the embedded Redis."""
        return self.home / "redis"

    @property
    def pid_file(self) -> Path:
        """Locked by the running supervisor for as long as it lives."""
        return self.home / "pixelmeter.pid"

    @property
    def state_file(self) -> Path:
        """What the supervisor knows now; rewritten on every change."""
        return self.home / "state.json"

    @property
    def dev_file(self) -> Path:
        """Addresses and keys for a person and for programs on this machine."""
        return self.home / "dev.json"

    def log_of(self, process: str) -> Path:
        """The log file of one process."""
        return self.logs / f"{process}.log"

    def create(self) -> None:
        """Create the folders that do not exist yet.

        Raises:
            HomeError: the home cannot be created or written.
        """
        try:
            for folder in (self.home, self.logs, self.redis):
                folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        if not os.access(self.home, os.W_OK | os.X_OK):
            raise self._unusable("no permission to write")

    def _unusable(self, reason: str) -> HomeError:
        return HomeError(
            f"PIXELMETER_HOME {self.home} cannot be written: {reason}. "
            "Set PIXELMETER_HOME to a folder of yours, for example $HOME/.pixelmeter"
        )


def socket_folder(data: Path, socket_name: str) -> Path:
    """The folder for a server's unix socket: its data folder, or a short one if that is too long.

    The short folder lies in the system's temporary folder; its name depends only on ``data``,
    so every process of the same home computes the same address.
    """
    if len(os.fsencode(data / socket_name)) <= SOCKET_PATH_BYTES_MAX:
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"pixelmeter-{digest}"


def create_socket_folder(folder: Path, *, uid: int | None = None) -> None:
    """Create a private folder in the shared temporary one, and refuse one that is somebody else's.

    Raises:
        HomeError: the folder exists and belongs to another user.
    """
    owner = os.geteuid() if uid is None else uid
    try:
        folder.mkdir(mode=PRIVATE)
        os.chown(folder, owner, -1)
    except FileExistsError:
        found = folder.lstat()
        if not folder.is_dir() or folder.is_symlink() or found.st_uid != owner:
            message = (
                f"{folder} belongs to somebody else; remove it or use a shorter PIXELMETER_HOME."
            )
            raise HomeError(message) from None


def remove_socket_folder(folder: Path) -> None:
    """Remove the short folder if it is there and empty."""
    with suppress(OSError):
        folder.rmdir()
