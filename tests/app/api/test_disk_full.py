"""A full disk refuses what does not fit, by its code, and keeps no half of it."""

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app.settings import Settings, load_settings
from tests.app.api.callers import Caller, Traces, assert_problem
from tests.app.api.conftest import SECRET
from tests.small_disk import fill, small_disk

TUS = {"Tus-Resumable": "1.0.0"}
BODY = "application/offset+octet-stream"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "files", mib=4) as folder:
        yield folder


@pytest.fixture
def settings(tmp_path: Path, disk: Path, database_url: str) -> Settings:
    return replace(
        load_settings({}),
        home=tmp_path / "home",
        database_url=database_url,
        storage_url=f"file://{disk}",
        base_url="http://pixelmeter.test",
        secret_key=SECRET,
    )


@pytest.fixture(scope="module")
def noise() -> bytes:
    """A picture of 3 MB."""
    target = io.BytesIO()
    Image.frombytes("RGB", (1000, 1000), os.urandom(3_000_000)).save(target, "TIFF")
    return target.getvalue()


def used(disk: Path) -> int:
    return sum(path.stat().st_size for path in disk.rglob("*") if path.is_file())


def test_an_upload_that_does_not_fit_is_refused_whole(
    caller: Caller, noise: bytes, photo: bytes, disk: Path, traces: Traces
) -> None:
    filler = fill(disk, leave_bytes=1_000_000)
    before, taken = traces.look(), used(disk)
    answer = caller.upload(noise)
    problem = assert_problem(answer, status=507, code="storage_full")
    assert problem["retryable"]
    assert answer.headers["Retry-After"]
    assert (traces.look(), used(disk)) == (before, taken)
    assert caller.upload(photo).status_code == 201
    filler.unlink()
    assert caller.upload(noise).status_code == 201


def test_a_job_whose_files_do_not_fit_holds_nothing(
    caller: Caller, noise: bytes, disk: Path, traces: Traces
) -> None:
    fill(disk, leave_bytes=1_000_000)
    before = traces.look()
    head = (
        '--mark\r\nContent-Disposition: form-data; name="job"\r\n\r\n'
        '{"engine": "detect", "model": "builtin"}\r\n'
        '--mark\r\nContent-Disposition: form-data; name="target"; filename="a.tif"\r\n\r\n'
    )
    answer = caller.post(
        "/v1/jobs",
        data=head.encode() + noise + b"\r\n--mark--\r\n",
        content_type="multipart/form-data; boundary=mark",
    )
    assert_problem(answer, status=507, code="storage_full")
    assert traces.look() == before


def test_a_resumable_upload_waits_for_room(caller: Caller, noise: bytes, disk: Path) -> None:
    length = {"Upload-Length": str(len(noise))}
    path = caller.post("/v1/uploads", headers={**TUS, **length}).headers["Location"]

    def patch(content: bytes, offset: int):
        headers = {**TUS, "Upload-Offset": str(offset)}
        return caller.send("PATCH", path, data=content, content_type=BODY, headers=headers)

    assert patch(noise[:1_000_000], 0).status_code == 204
    filler = fill(disk, leave_bytes=500_000)
    answer = patch(noise[1_000_000:], 1_000_000)
    assert_problem(answer, status=507, code="storage_full")
    assert caller.get(path).json["received"] == 1_000_000
    filler.unlink()
    done = patch(noise[1_000_000:], 1_000_000)
    assert done.status_code == 204, done.text
    file = caller.get(f"/v1/files/{done.headers['Pixelmeter-File']}").json
    assert file["sha256"] == hashlib.sha256(noise).hexdigest()
