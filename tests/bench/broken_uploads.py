"""One large upload by a real tus client through a network that breaks, watched from outside."""

import contextlib
import hashlib
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import imageio_ffmpeg
from tusclient.client import TusClient

from tests.app.live_api import LiveApi

MIB = 1024 * 1024
PIECE = 64 * MIB
CHUNK = 256 * 1024


@dataclass
class BreakingProxy:
    """Passes bytes on to the API until ``cut_after`` of them have gone, then drops the line."""

    target: int
    broke: Callable[[int], None]
    cuts: list[int]  # at how many bytes altogether, rising
    port: int = 0
    passed: int = 0
    breaks: int = 0
    _listener: socket.socket | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "BreakingProxy":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self.target))
            with server:
                back = threading.Thread(target=self._back, args=(server, client), daemon=True)
                back.start()
                while chunk := client.recv(CHUNK):
                    server.sendall(chunk)
                    if self._is_cut(len(chunk)):
                        return
                back.join()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(CHUNK):
                client.sendall(chunk)
            client.shutdown(socket.SHUT_WR)

    def _is_cut(self, size: int) -> bool:
        with self._lock:
            self.passed += size
            if not self.cuts or self.passed < self.cuts[0]:
                return False
            self.cuts.pop(0)
            self.breaks += 1
            self.broke(self.breaks)
            return True


@dataclass
class Watch:
    """The highest memory of the API's processes together, sampled."""

    api: LiveApi
    peak_bytes: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            with contextlib.suppress(Exception):  # between a kill and the next start
                self.peak_bytes = max(self.peak_bytes, self.api.memory_bytes())


@dataclass(frozen=True)
class Outcome:
    """What an upload came to."""

    breaks: int
    kills: int
    seconds: float
    sent_bytes: int  # through the network, what was sent twice included
    peak_bytes: int
    is_right: bool  # the sha256 of the stored file, and of what comes out again


def make_video(path: Path, size: int) -> Path:
    """A video of ``size`` bytes: one real second, then a box of noise that players pass over."""
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi"),
        *("-i", "testsrc=size=320x240:rate=10:duration=1", "-pix_fmt", "yuv420p", str(path)),
    ]
    subprocess.run(command, check=True)
    with path.open("ab") as target:
        left = size - target.tell()
        target.write(b"\0\0\0\1free" + left.to_bytes(8, "big"))
        left -= 16
        while left:
            block = os.urandom(min(left, MIB))
            target.write(block)
            left -= len(block)
    return path


def upload_broken(
    api: LiveApi, key: str, path: Path, *, breaks: int, kills: int, seed: int
) -> Outcome:
    """Upload a file; the line breaks so often, and so many of the times the API is killed too."""
    size = path.stat().st_size
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(size // 20, size), breaks))
    killing = set(chance.sample(range(1, breaks + 1), kills))
    killed: list[int] = []

    def broke(number: int) -> None:
        if number in killing:
            api.kill()
            api.start()
            killed.append(number)

    headers = {"Authorization": f"Bearer {key}"}
    began = time.monotonic()
    with BreakingProxy(api.port, broke, cuts) as proxy, Watch(api) as watch:
        client = TusClient(f"http://127.0.0.1:{proxy.port}/v1/uploads", headers=headers)
        with path.open("rb") as stream:
            sender = client.uploader(
                file_stream=stream, chunk_size=PIECE, retries=60, retry_delay=0.5
            )
            sender.upload()
        seconds = time.monotonic() - began
        upload = httpx.get(sender.url, headers=headers, timeout=120).json()
        digest = hashlib.sha256()
        address = f"{api.url}/v1/files/{upload['file']}/content"
        with httpx.stream("GET", address, headers=headers, timeout=120) as answer:
            for block in answer.iter_bytes():
                digest.update(block)
    wanted = _sha256(path)
    file = httpx.get(f"{api.url}/v1/files/{upload['file']}", headers=headers).json()
    return Outcome(
        breaks=proxy.breaks,
        kills=len(killed),
        seconds=seconds,
        sent_bytes=proxy.passed,
        peak_bytes=watch.peak_bytes,
        is_right=file["sha256"] == wanted == digest.hexdigest() and file["bytes"] == size,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
