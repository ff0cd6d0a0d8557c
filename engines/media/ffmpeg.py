"""The only place that starts ffmpeg.

A media file is hostile input to a large C program, so every run gets: an argument list (never a
shell), no terminal, no environment of ours, protocol and demuxer whitelists (``reading``), limits
on memory, processor time and file size, a drained error stream that cannot block it, and death
together with its parent.
"""

import contextlib
import ctypes
import functools
import re
import resource
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from engines.errors import EngineFaultError

_PR_SET_PDEATHSIG = 1
_OLDEST_LIBAVFORMAT = 60  # ffmpeg 6.0: first with -stats_enc_post
_TAIL_LINES = 200
_DEVICE_ADDRESSES = 4 * 1024**4  # bytes
_TAIL_LINE_CHARS = 1000
FORMATS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts")
# Quotes nothing of ours: keys, tokens and database addresses stay out of a decoder's reach.
# Few malloc arenas: each reserves 64 MiB of the address space that Bounds limits, per thread.
_ENVIRONMENT = {"LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1", "MALLOC_ARENA_MAX": "4"}


@functools.cache
def find_ffmpeg() -> str:
    """Return the binary to run: ``ffmpeg`` on PATH if recent enough, else the one in the wheel.

    Raises ``EngineFaultError`` (code ``ffmpeg_missing``) when neither works.
    """
    on_path = shutil.which("ffmpeg")
    if on_path and _usable(on_path):
        return on_path
    import imageio_ffmpeg  # noqa: PLC0415 - 170 MB of data behind it; only where it is needed

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        detail = "no usable ffmpeg: install ffmpeg 6 or newer, or the imageio-ffmpeg wheel"
        raise EngineFaultError(detail, code="ffmpeg_missing") from error


def _usable(binary: str) -> bool:
    """Whether a found binary is new enough and can encode H.264."""
    try:
        text = subprocess.run(  # noqa: S603 - a binary that the operator put on PATH
            [binary, "-version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.search(r"libavformat\s+(\d+)\.", text)
    recent = found is not None and int(found[1]) >= _OLDEST_LIBAVFORMAT
    return recent and "--enable-libx264" in text


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one process may use; beyond it the kernel says no or kills it."""

    memory_bytes: int = 16 * 1024**3  # address space, which is several times the memory in use
    cpu_s: int = 24 * 3600
    file_bytes: int = 64 * 1024**3

    @classmethod
    def on_device(cls) -> "Bounds":
        """For a process that uses a GPU: its driver reserves far more addresses than it fills."""
        return cls(memory_bytes=_DEVICE_ADDRESSES)


def reading(demuxer: str) -> dict[str, str | int]:
    """Return the input options under which a stranger's file is opened.

    The demuxer is forced: with probing, a playlist named ``.mp4`` would open other files.
    """
    return {
        "protocol_whitelist": "file,pipe",
        "format_whitelist": ",".join(FORMATS),
        "f": demuxer,
    }


def command(*, loglevel: str = "error") -> list[str]:
    """Return the start of every command line; each message carries its level in brackets."""
    return [find_ffmpeg(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", f"level+{loglevel}"]


class Messages:
    """The error stream of one process: read to the end by a thread, kept only in part."""

    def __init__(self, stream: IO[bytes], *, watch: re.Pattern[str] | None, head: int) -> None:
        self._stream = stream
        self._watch = watch
        self._head_limit = head
        self.head: list[str] = []  # the first lines, where ffmpeg describes its inputs
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.seen: str | None = None  # the first line that matched ``watch``
        self._thread = threading.Thread(target=self._drain, name="ffmpeg-messages", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        # readline with a size: a line without end cannot fill memory.
        while raw := self._stream.readline(_TAIL_LINE_CHARS):
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if len(self.head) < self._head_limit:
                self.head.append(line)
            self.tail.append(line)
            if self._watch and self.seen is None and self._watch.search(line):
                self.seen = line

    def finish(self) -> None:
        """Wait for the end of the stream, which comes with the end of the process."""
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._stream.close()

    def text(self) -> str:
        """Return what is kept, oldest first."""
        extra = [line for line in self.head if line not in self.tail]
        return "\n".join([*extra, *self.tail])


class Process:
    """One running ffmpeg. Use as a context manager: leaving it always leaves nothing behind.

    Start it in a thread that outlives it: the kernel ties its death to that thread.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        bounds: Bounds,
        feed: bool = False,
        keep: Sequence[int] = (),
        watch: re.Pattern[str] | None = None,
        head: int = 0,
    ) -> None:
        self._popen: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - a list
            list(arguments),
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            pass_fds=tuple(keep),
            start_new_session=True,
            preexec_fn=_confine(bounds),  # noqa: PLW1509 - system calls only, see there
        )
        assert self._popen.stderr is not None  # noqa: S101 - we asked for the pipe
        self.messages = Messages(self._popen.stderr, watch=watch, head=head)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to the process; only with ``feed=True``."""
        if self._popen.stdin is None:
            raise ValueError("this process was started without feed=True")
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from the process."""
        assert self._popen.stdout is not None  # noqa: S101 - we asked for the pipe
        return self._popen.stdout

    def wait(self, timeout_s: float | None = None) -> int:
        """Return the exit status (negative: the signal that killed it) after its messages ended."""
        status = self._popen.wait(timeout_s)
        self.messages.finish()
        return status

    def kill(self) -> None:
        """End the process now; harmless when it is gone."""
        if self._popen.poll() is None:
            self._popen.kill()

    def __enter__(self) -> Self:
        """Return the process itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill what still runs, reap it and close the pipes."""
        self.kill()
        self.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                # Unflushed bytes for a dead process are of no use to anybody.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _confine(bounds: Bounds) -> Callable[[], None]:
    """Return what the child does between fork and exec: only system calls, prepared beforehand."""
    prctl: Any = ctypes.CDLL(None, use_errno=True).prctl
    limits = (
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_CPU, bounds.cpu_s),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_CORE, 0),
    )
    allowed = tuple((kind, _within_hard_limit(kind, value)) for kind, value in limits)
    death = int(signal.SIGKILL)

    def confine() -> None:
        prctl(_PR_SET_PDEATHSIG, death, 0, 0, 0)
        for kind, pair in allowed:
            resource.setrlimit(kind, pair)

    return confine


def _within_hard_limit(kind: int, value: int) -> tuple[int, int]:
    hard = resource.getrlimit(kind)[1]
    cap = value if hard == resource.RLIM_INFINITY else min(value, hard)
    return cap, cap


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended."""

    status: int  # exit status; negative: killed by that signal
    messages: Messages
    timed_out: bool = False


def run(
    arguments: Sequence[str],
    *,
    bounds: Bounds,
    timeout_s: float,
    read: Callable[[IO[bytes]], None],
    head: int = 0,
    keep: Sequence[int] = (),
) -> Finished:
    """Run to the end, handing the output to ``read``; killed after ``timeout_s`` seconds.

    Whatever ``read`` raises ends the process too and is raised here. ``keep`` are descriptors that
    stay open in it.
    """
    with Process(arguments, bounds=bounds, keep=keep, head=head) as process:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            read(process.stdout)
            status = process.wait()
        finally:
            timer.cancel()
            timer.join()
        return Finished(status, process.messages, expired.is_set())
