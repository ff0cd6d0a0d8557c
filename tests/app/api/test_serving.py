"""The API under the real server: framing, limits, clean ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from app.db import open_engine, session_factory
from app.secret_box import SecretBox
from app.tenants.service import create_key, create_tenant

SECRET = "a secret of the tests, long enough"
ROOT = Path(__file__).resolve().parents[3]
START_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes and read until the server closes or the body is whole."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = connection.recv(65_536)
            if not part:
                break
            answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
        }
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65_536)
    return int(lines[0].split()[1]), headers, body


@contextmanager
def serving(
    postgres_url: str, template_database: str, folder: Path, name: str
) -> Iterator[tuple[subprocess.Popen[bytes], int, str]]:
    """The real server with one worker: its process, port and database."""
    port = free_port()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    head, _, query = postgres_url.partition("?")
    database_url = f"{head.rsplit('/', 1)[0]}/{name}?{query}"
    (folder / "key").write_text(tenant_key(database_url))
    environment = {
        **os.environ,
        "PIXELMETER_HOME": str(folder / "home"),
        "DATABASE_URL": database_url,
        "PIXELMETER_SECRET_KEY": SECRET,
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "python:app.api.gunicorn_conf"]
    command += ["--bind", f"127.0.0.1:{port}", "--workers", "1"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait_until_up(port, process, log)
        yield process, port, database_url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=40) == 0


@pytest.fixture(scope="module")
def server(
    postgres_url: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Path]]:
    folder = tmp_path_factory.mktemp("serving")
    with serving(postgres_url, template_database, folder, "serving") as (_, port, _):
        yield port, folder / "log"


def waiting_job(database_url: str) -> str:
    """A job in the queue, written by hand; returns its id."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO job (id, tenant_id, api_key_id, engine, model, params, inputs, priority,"
            " status, metadata, consent, quote, hold_id, estimated_ms, attempt, progress_done,"
            " progress_total, progress_unit, event_sequence) SELECT 'job_1', id, 'key', 'detect',"
            " 'builtin@1', '{}', '{}', 'normal', 'queued', '{}', false, '{}', 'hold', 1, 0, 0, 0,"
            " '', 0 FROM tenant"
        )
    return "job_1"


def tenant_key(database_url: str) -> str:
    engine = open_engine(database_url, pool_size=1)
    with session_factory(engine).begin() as session:
        tenant = create_tenant(session, name="acme", box=SecretBox(SECRET))
        key = create_key(session, tenant_id=tenant.id).minted.key
    engine.dispose()
    return key


def wait_until_up(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            status, _, _ = ask(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        except OSError:
            time.sleep(0.1)
            continue
        assert status == 200
        return
    pytest.fail(log.read_text())


HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_ready_server_says_so(server: tuple[int, Path]) -> None:
    status, _, body = ask(server[0], b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200, body
    assert json.loads(body)["checks"]["database"] == "ok"


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\nhello\r\n0\r\n\r\n", b"5;\x01=1\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n"],
)
def test_malformed_chunks_are_the_callers_fault(server: tuple[int, Path], chunks: bytes) -> None:
    port, log = server
    key = b"Authorization: Bearer " + (log.parent / "key").read_bytes() + b"\r\n"
    request = HEAD + key + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    status, _, body = ask(port, request)
    assert (status, json.loads(body)["code"]) == (400, "malformed_body")


def test_what_follows_a_malformed_body_is_not_read_as_a_request(
    server: tuple[int, Path],
) -> None:
    port, log = server
    key = b"Authorization: Bearer " + (log.parent / "key").read_bytes() + b"\r\n"
    smuggled = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    request = HEAD + key + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + smuggled
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {400, 414}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", {400, 431}),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 101 + b"\r\n", {400, 431}),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", {400}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n", {400}),
    ],
)
def test_bad_framing_is_refused_before_our_code(
    server: tuple[int, Path], request_bytes: bytes, statuses: set[int]
) -> None:
    status, _, _ = ask(server[0], request_bytes)
    assert status in statuses


def test_an_unbelieved_proxy_changes_nothing(server: tuple[int, Path]) -> None:
    request = b"GET /nothing HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    status, headers, body = ask(server[0], request)
    assert status == 404
    assert json.loads(body)["code"] == "route_not_found"
    assert headers["x-request-id"].startswith("req_")


def test_the_log_is_json_lines(server: tuple[int, Path]) -> None:
    lines = server[1].read_text().splitlines()
    assert lines
    for line in lines:
        assert {"ts", "level", "event"} <= set(json.loads(line)), line


def test_a_server_that_is_told_to_end_does_not_wait_for_streams(
    postgres_url: str, template_database: str, tmp_path: Path
) -> None:
    with serving(postgres_url, template_database, tmp_path, "streaming") as (process, port, url):
        job_id, key = waiting_job(url), (tmp_path / "key").read_text()
        request = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: x\r\n"
        request += f"Authorization: Bearer {key}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(request.encode())
            told = b""
            while b"event: status" not in told:
                told += connection.recv(65_536)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
