"""Bytes out: whole, in part, or not at all; the same from a folder and from S3."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.api.services import Services
from app.settings import Settings, load_settings
from tests.app.api.callers import Caller, assert_problem
from tests.app.api.conftest import SECRET
from tests.app.s3_server import CREDENTIALS, S3Server, running


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with running() as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def settings(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    storage_url = f"file://{tmp_path / 'files'}"
    if request.param == "s3":
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        server: S3Server = request.getfixturevalue("s3_server")
        storage_url = server.url(uuid.uuid4().hex)
    return replace(
        load_settings({}),
        home=tmp_path / "home",
        database_url=database_url,
        storage_url=storage_url,
        base_url="http://pixelmeter.test",
        secret_key=SECRET,
    )


@pytest.fixture
def path(file_id: str) -> str:
    return f"/v1/files/{file_id}/content"


def test_the_whole_content_says_what_it_is(caller: Caller, path: str, photo: bytes) -> None:
    with caller.get(path) as answer:
        assert answer.status_code == 200
        assert answer.data == photo
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Content-Length"] == str(len(photo))
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["ETag"] == f'"{caller.get(path[:-8]).json["sha256"]}"'


def test_ranges_are_answered_as_asked(caller: Caller, path: str, photo: bytes) -> None:
    size = len(photo)
    for wanted, (start, stop) in {
        "bytes=0-0": (0, 1),
        "bytes=10-19": (10, 20),
        f"bytes={size - 5}-": (size - 5, size),
        f"bytes=5-{size * 2}": (5, size),
        "bytes=-7": (size - 7, size),
    }.items():
        with caller.get(path, headers={"Range": wanted}) as answer:
            assert answer.status_code == 206, wanted
            assert answer.data == photo[start:stop], wanted
            assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
            assert answer.headers["Content-Length"] == str(stop - start)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_no_single_range_is_answered_whole(caller: Caller, path: str, photo: bytes) -> None:
    for wanted in ("bytes=0-1,5-6", "bytes=5-2", "bytes=x-y", "lines=1-2", "bytes=-1000000"):
        with caller.get(path, headers={"Range": wanted}) as answer:
            assert answer.status_code == 200, wanted
            assert answer.data == photo


def test_a_range_behind_the_end_is_told_the_size(caller: Caller, path: str, photo: bytes) -> None:
    answer = caller.get(path, headers={"Range": f"bytes={len(photo)}-"})
    assert_problem(answer, status=416, code="range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(photo)}"


def test_a_part_is_only_sent_of_what_the_caller_has(
    caller: Caller, path: str, photo: bytes
) -> None:
    with caller.get(path) as first:
        etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for condition, status in (
        (etag, 206),
        (modified, 206),
        ('"another"', 200),
        (f"W/{etag}", 200),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
    ):
        headers = {"Range": "bytes=0-9", "If-Range": condition}
        with caller.get(path, headers=headers) as answer:
            assert answer.status_code == status, condition
            assert answer.data == (photo[:10] if status == 206 else photo)


def test_what_the_caller_has_is_not_sent_again(caller: Caller, path: str) -> None:
    with caller.get(path) as first:
        etag = first.headers["ETag"]
    for headers in ({"If-None-Match": etag}, {"If-None-Match": etag, "Range": "bytes=0-9"}):
        with caller.get(path, headers=headers) as answer:
            assert answer.status_code == 304
            assert answer.data == b""


def test_head_tells_the_size_and_sends_nothing(
    caller: Caller, client: FlaskClient, path: str, photo: bytes
) -> None:
    with client.head(path, headers={"Authorization": f"Bearer {caller.key}"}) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Length"] == str(len(photo))
        assert answer.data == b""


def test_an_object_that_is_gone_is_not_found(caller: Caller, kit: Services, path: str) -> None:
    for each in list(kit.storage.keys(older_than_s=-5)):
        kit.storage.delete(each)
    assert_problem(caller.get(path), status=404, code="file_not_found")


def test_a_link_carries_a_range_too(
    caller: Caller, client: FlaskClient, path: str, photo: bytes
) -> None:
    link = caller.get(path[:-8]).json["url"].removeprefix("http://pixelmeter.test")
    with client.get(link, headers={"Range": "bytes=-4"}) as answer:
        assert (answer.status_code, answer.data) == (206, photo[-4:])


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b.png", 'attachment; filename="a b.png"'),
        ("é.png", "attachment; filename=e.png; filename*=UTF-8''%C3%A9.png"),
        ('q".png', 'attachment; filename="q\\".png"'),
    ],
)
def test_names_survive_the_header(caller: Caller, photo: bytes, name: str, header: str) -> None:
    file = caller.upload(photo, name=name).json
    with caller.get(f"/v1/files/{file['id']}/content") as answer:
        assert file["name"] == name
        assert answer.headers["Content-Disposition"] == header
