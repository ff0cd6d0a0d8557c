"""tus as a client library speaks it, against the API as it is served, killed in the middle."""

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from PIL import Image
from tusclient.client import TusClient
from tusclient.uploader import Uploader

from app.db import open_engine, session_factory
from tests.app.live_api import LiveApi, live, tenant_with_tokens
from tests.app.s3_server import CREDENTIALS, S3Server, running

MIB = 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def shared_database(postgres_url: str, template_database: str) -> Iterator[str]:
    """One database for all: starting the API anew for each test would be most of their time."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE live TEMPLATE {template_database}")
    head, _, query = postgres_url.partition("?")
    yield f"{head.rsplit('/', 1)[0]}/live?{query}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE live WITH (FORCE)")


@pytest.fixture(scope="module")
def file_api(tmp_path_factory: pytest.TempPathFactory, shared_database: str) -> Iterator[LiveApi]:
    folder = tmp_path_factory.mktemp("file")
    with live(LiveApi(folder / "home", shared_database, f"file://{folder / 'files'}")) as api:
        yield api


@pytest.fixture(scope="module")
def s3_api(
    tmp_path_factory: pytest.TempPathFactory, shared_database: str, s3_server: S3Server
) -> Iterator[LiveApi]:
    home, url = tmp_path_factory.mktemp("s3") / "home", s3_server.url("live")
    with live(LiveApi(home, shared_database, url, CREDENTIALS)) as api:
        yield api


@pytest.fixture(params=["file", "s3"])
def api(request: pytest.FixtureRequest) -> LiveApi:
    return request.getfixturevalue(f"{request.param}_api")


@pytest.fixture(scope="module")
def key(shared_database: str) -> str:
    engine = open_engine(shared_database)
    found = tenant_with_tokens(session_factory(engine))[1]
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TIFF of noise, 18 MB: nothing that is sent twice or left out stays unnoticed."""
    path = tmp_path_factory.mktemp("large") / "noise.tif"
    Image.frombytes("RGB", (3000, 2000), os.urandom(18_000_000)).save(path)
    return path


@contextlib.contextmanager
def tus_client(
    api: LiveApi, key: str, picture: Path, *, piece: int, url: str | None = None
) -> Iterator[Uploader]:
    client = TusClient(f"{api.url}/v1/uploads", headers={"Authorization": f"Bearer {key}"})
    with picture.open("rb") as stream:
        yield client.uploader(
            file_stream=stream, chunk_size=piece, metadata={"filename": picture.name}, url=url
        )


def begun(api: LiveApi, key: str, picture: Path) -> str:
    with tus_client(api, key, picture, piece=MIB) as client:
        return client.create_url()


def file_of(api: LiveApi, key: str, url: str) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {key}"}
    upload = httpx.get(url, headers=headers, timeout=60).json()
    assert upload["status"] == "finished", upload
    return httpx.get(f"{api.url}/v1/files/{upload['file']}", headers=headers).json()


def offset_of(api: LiveApi, key: str, url: str) -> int:
    headers = {"Authorization": f"Bearer {key}", **TUS}
    return int(httpx.head(url, headers=headers, timeout=60).headers["Upload-Offset"])


def test_a_tus_client_uploads_a_picture(api: LiveApi, key: str, picture: Path) -> None:
    with tus_client(api, key, picture, piece=10 * MIB) as client:
        client.upload()
    file = file_of(api, key, client.url)
    assert file["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert (file["name"], file["width"]) == ("noise.tif", 3000)


def test_an_upload_goes_on_where_a_killed_server_stood(
    api: LiveApi, key: str, picture: Path, shared_database: str
) -> None:
    """Killed inside a request: what the server says afterwards is what it has."""
    url = begun(api, key, picture)
    killer = threading.Thread(target=_kill_when_past, args=(api, shared_database, url, 0))
    killer.start()
    _slowly(api, key, url, picture, 0)
    killer.join()
    api.start()
    assert 0 < offset_of(api, key, url) < picture.stat().st_size
    with tus_client(api, key, picture, piece=64 * MIB, url=url) as client:
        assert client.offset == offset_of(api, key, url) > 0
        client.upload()
    assert file_of(api, key, url)["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()


def _kill_when_past(api: LiveApi, database_url: str, url: str, stood: int) -> None:
    deadline = time.monotonic() + 60
    asked = "SELECT received FROM upload WHERE id = %s", (url.rpartition("/")[2],)
    with psycopg.connect(database_url, autocommit=True) as connection:
        while connection.execute(*asked).fetchone()[0] <= stood:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    api.kill()


def _request(api: LiveApi, key: str, url: str, offset: int, length: int) -> bytes:
    path = url.removeprefix(api.url)
    return (
        f"PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\nContent-Length: {length}\r\n"
        "Content-Type: application/offset+octet-stream\r\n\r\n"
    ).encode()


def _slowly(api: LiveApi, key: str, url: str, picture: Path, offset: int) -> None:
    """One PATCH of all the rest, paced so that the server can be killed inside it."""
    rest = picture.read_bytes()[offset:]
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection,
    ):
        connection.sendall(_request(api, key, url, offset, len(rest)))
        for start in range(0, len(rest), MIB):
            connection.sendall(rest[start : start + MIB])
            time.sleep(0.02)


def test_a_connection_that_breaks_off_keeps_what_came(
    file_api: LiveApi, key: str, picture: Path
) -> None:
    url = begun(file_api, key, picture)
    content = picture.read_bytes()
    with socket.create_connection(("127.0.0.1", file_api.port)) as connection:
        connection.sendall(_request(file_api, key, url, 0, len(content)) + content[:1000])
    _wait_past(file_api, key, url, 0)
    assert offset_of(file_api, key, url) == 1000
    with tus_client(file_api, key, picture, piece=10 * MIB, url=url) as client:
        client.upload()
    assert file_of(file_api, key, url)["sha256"] == hashlib.sha256(content).hexdigest()


def _wait_past(api: LiveApi, key: str, url: str, stood: int) -> None:
    deadline = time.monotonic() + 30
    while offset_of(api, key, url) <= stood:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_newer_request_goes_on_while_an_older_one_hangs(
    file_api: LiveApi, key: str, picture: Path
) -> None:
    """A connection that is half open would otherwise keep its upload for ever."""
    content, first = picture.read_bytes(), 9 * MIB
    url = begun(file_api, key, picture)
    with socket.create_connection(("127.0.0.1", file_api.port)) as connection:
        connection.settimeout(30)
        connection.sendall(_request(file_api, key, url, 0, len(content)) + content[:first])
        _wait_past(file_api, key, url, 0)
        with tus_client(file_api, key, picture, piece=10 * MIB, url=url) as client:
            client.upload()
        connection.sendall(bytes(len(content) - first))  # its own end of the file: zeros
        assert connection.recv(100).startswith(b"HTTP/1.1 409 ")
    file = file_of(file_api, key, url)
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    headers = {"Authorization": f"Bearer {key}"}
    address = f"{file_api.url}/v1/files/{file['id']}/content"
    assert httpx.get(address, headers=headers, timeout=60).content == content


def test_a_server_killed_while_finishing_finishes_later(
    file_api: LiveApi, key: str, picture: Path, shared_database: str
) -> None:
    url, size = begun(file_api, key, picture), picture.stat().st_size
    killer = threading.Thread(
        target=_kill_when_past, args=(file_api, shared_database, url, size - 1)
    )
    killer.start()
    _slowly(file_api, key, url, picture, 0)
    killer.join()
    file_api.start()
    assert offset_of(file_api, key, url) == size
    file = file_of(file_api, key, url)
    assert file["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()


def test_a_file_put_straight_to_s3_becomes_one_like_any_other(
    s3_api: LiveApi, key: str, picture: Path
) -> None:
    content = picture.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=s3_api.url, headers=headers, timeout=60) as http:
        asked = {"name": "noise.tif", "bytes": len(content), "sha256": digest}
        upload = http.post("/v1/uploads", json=asked).json()
        complete, put = f"/v1/uploads/{upload['id']}/complete", upload["put"]
        early = http.post(complete)
        assert (early.status_code, early.json()["code"]) == (409, "upload_incomplete")
        httpx.put(put["url"], content=content[:-1])
        short = http.post(complete)
        assert (short.status_code, short.json()["code"]) == (409, "upload_incomplete")
        sent = httpx.put(put["url"], content=content, headers=put["headers"], timeout=60)
        assert sent.status_code == 200
        done = http.post(complete)
        assert done.status_code == 200, done.text
        assert http.post(complete).json() == done.json()
        httpx.put(put["url"], content=bytes(len(content)))  # the address still works
        file = http.get(f"/v1/files/{done.json()['file']}").json()
        assert (file["sha256"], file["width"]) == (digest, 3000)
        assert http.get(f"/v1/files/{file['id']}/content").content == content


def test_what_was_put_to_s3_has_to_be_what_was_announced(s3_api: LiveApi, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=s3_api.url, headers=headers, timeout=60) as http:
        for asked, code in (
            ({"bytes": 9, "sha256": "0" * 64}, "sha256_mismatch"),
            ({"bytes": 9}, "unsupported_media"),
        ):
            upload = http.post("/v1/uploads", json=asked).json()
            httpx.put(upload["put"]["url"], content=b"not media")
            refused = http.post(f"/v1/uploads/{upload['id']}/complete")
            assert (refused.status_code, refused.json()["code"]) == (422, code)
