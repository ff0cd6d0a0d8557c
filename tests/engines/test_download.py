"""Downloads that are cut, lied to or raced for."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engines import download as downloads
from engines.download import WeightsError, download
from engines.errors import ExhaustedError
from engines.manifest import WeightsFile

CONTENT = bytes(range(256)) * 20_000  # 5 MB


def declared(content: bytes = CONTENT) -> WeightsFile:
    digest = hashlib.sha256(content).hexdigest()
    return WeightsFile("net.onnx", sha256=digest, bytes=len(content), licence="MIT", source="us")


class Source:
    """A server that gives ``content`` and hangs up after ``cut_after`` bytes, ``cuts`` times."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.cuts = 0
        self.cut_after = 0
        self.knows_ranges = True
        self.asked: list[str | None] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.knows_ranges else 0
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.cuts:
            self.cuts -= 1
            body = body[: self.cut_after]
        handler.wfile.write(body)


@contextmanager
def _running(source: Source) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            source.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/net.onnx"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "net.onnx"


def test_a_cut_in_the_middle_costs_what_is_missing_only(target: Path) -> None:
    source = Source()
    source.cuts, source.cut_after = 2, 2_000_000
    steps: list[int] = []
    with _running(source) as url:
        download(url, declared(), target, lambda _name, done, _all: steps.append(done))
    assert target.read_bytes() == CONTENT
    assert source.asked == [None, "bytes=2000000-", "bytes=4000000-"]
    assert steps == sorted(steps)
    assert steps[-1] == len(CONTENT)
    assert list(target.parent.iterdir()) == [target]


def test_what_arrived_is_kept_for_the_next_command(target: Path) -> None:
    source = Source()
    source.cuts, source.cut_after = 1, 3_000_000
    with _running(source) as url:
        with pytest.raises(WeightsError, match="3000000 of 5120000") as refused:
            _cut_for_good(source, url, target)
        assert refused.value.code == "weights_incomplete"
        assert not target.exists()
        source.cuts = 0
        source.asked.clear()
        download(url, declared(), target)
    assert source.asked == ["bytes=3000000-"]
    assert target.read_bytes() == CONTENT


def _cut_for_good(source: Source, url: str, target: Path) -> None:
    """The first answer brings 3 MB, every later one nothing."""
    give = source.answer

    def answer(handler: BaseHTTPRequestHandler) -> None:
        give(handler)
        source.cuts, source.cut_after = 1, 0

    source.answer = answer  # type: ignore[method-assign]
    try:
        download(url, declared(), target)
    finally:
        source.answer = give  # type: ignore[method-assign]


def test_a_source_without_ranges_is_read_from_the_beginning(target: Path) -> None:
    source = Source()
    source.cuts, source.cut_after, source.knows_ranges = 1, 1_000_000, False
    with _running(source) as url:
        download(url, declared(), target)
    assert target.read_bytes() == CONTENT


def test_pieces_of_two_different_files_are_noticed_and_fetched_again(target: Path) -> None:
    part = target.with_name(f".net.onnx.{declared().sha256[:12]}.part")
    part.write_bytes(b"\0" * 1_000_000)
    source = Source()
    with _running(source) as url:
        download(url, declared(), target)
    assert source.asked == ["bytes=1000000-", None]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("change", [lambda c: c[:-1] + b"x", lambda c: c + b"x", lambda c: c[:-9]])
def test_another_file_is_refused_and_removed(
    target: Path, change: Callable[[bytes], bytes]
) -> None:
    with (
        _running(Source(change(CONTENT))) as url,
        pytest.raises(WeightsError, match="nothing was kept") as refused,
    ):
        download(url, declared(), target)
    assert refused.value.code == "weights_corrupt"
    assert list(target.parent.iterdir()) == []


def test_two_processes_that_want_one_file_fetch_it_once(target: Path) -> None:
    source = Source()
    with _running(source) as url:
        both = [threading.Thread(target=download, args=(url, declared(), target)) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join(20)
    assert source.asked == [None]
    assert list(target.parent.iterdir()) == [target]


def test_a_full_disk_is_said_and_not_kept_full(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = len(CONTENT) // 2
    size = downloads._size

    class Full:
        """The draft, on a disk that takes no more than the limit."""

        def __init__(self, draft: Any) -> None:
            self._draft = draft

        def __getattr__(self, name: str) -> Any:
            return getattr(self._draft, name)

        def write(self, chunk: bytes) -> int:
            if size(self._draft) + len(chunk) > limit:
                raise OSError(28, "No space left on device")
            return self._draft.write(chunk)

    locked = downloads._locked

    @contextmanager
    def full(part: Path) -> Iterator[Any]:
        with locked(part) as draft:
            yield Full(draft)

    monkeypatch.setattr(downloads, "_locked", full)
    with _running(Source()) as url, pytest.raises(ExhaustedError, match="No space left"):
        download(url, declared(), target)
    assert list(target.parent.iterdir()) == []
