"""What only S3 can: addresses that clients send to, copies on this machine, being away."""

import hashlib
import io
import socket
from pathlib import Path

import httpx
import pytest

from app.storage import Storage, StorageError, StorageUnavailableError, new_key, open_storage
from tests.app.s3_server import CREDENTIALS, S3Server


def test_a_server_that_is_away_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    storage = open_storage(f"s3://b?endpoint=http://127.0.0.1:{port}&region=x", home=tmp_path)
    key = new_key()
    for use in (
        storage.check,
        lambda: storage.put_stream(io.BytesIO(b"x")),
        lambda: storage.open(key),
        lambda: storage.local(key, tmp_path),
        lambda: storage.size(key),
        lambda: storage.delete(key),
        lambda: list(storage.objects()),
        lambda: storage.growing.begin(key, total=1),
    ):
        with pytest.raises(StorageUnavailableError):
            use()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_bucket_that_is_not_there_is_told_as_such(
    s3_server: S3Server, s3_storage: Storage, tmp_path: Path
) -> None:
    url = s3_server.url("x").replace("pictures", "nothing")
    with pytest.raises(StorageUnavailableError):
        open_storage(url, home=tmp_path).check()


def test_an_object_that_breaks_off_is_an_error(s3_storage: Storage) -> None:
    """A server that promises 100 bytes and sends 10."""
    from app.storage.s3_body import ObjectBody

    body = ObjectBody("key", io.BytesIO(b"x" * 10), 100)
    assert body.read(64) == b"x" * 10
    with pytest.raises(StorageUnavailableError, match="90 bytes"):
        body.read(64)


def test_objects_are_fetched_once_and_copies_are_bounded(
    s3_storage: Storage, s3_server: S3Server, tmp_path: Path
) -> None:
    """The fixture allows 100 bytes of copies."""
    first, second = (s3_storage.put_stream(io.BytesIO(mark * 60)) for mark in (b"1", b"2"))
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    path = s3_storage.local(first, folders[0])
    s3_storage.delete(first)
    assert s3_storage.local(first, folders[1]).read_bytes() == b"1" * 60  # not from the server
    s3_storage.local(second, folders[0])
    assert path.read_bytes() == b"1" * 60  # let go by the cache, not by who uses it
    with pytest.raises(FileNotFoundError):
        s3_storage.local(first, folders[2])
    copies = tmp_path / "home" / "storage" / "nearby" / "copies"
    assert [each.stat().st_size for each in copies.iterdir()] == [60]


def test_what_is_put_by_a_signed_address_is_adopted(s3_storage: Storage) -> None:
    direct, key, sent = s3_storage.direct, new_key(), b"from the client"
    assert direct is not None
    digest = hashlib.sha256(sent).hexdigest()
    url, headers = direct.address(key, total=len(sent), sha256=digest, expires_s=60)
    assert direct.adopt(key, total=len(sent)) is None
    assert httpx.put(url, content=sent, headers=headers).status_code == 200
    assert s3_storage.size(key) is None
    assert list(direct.keys(older_than_s=-5)) == [key]
    assert direct.adopt(key, total=len(sent)) == len(sent)
    assert direct.adopt(key, total=len(sent)) == len(sent)
    # The address works until it expires, and changes nothing that anybody reads.
    httpx.put(url, content=b"something else!", headers=headers)
    with s3_storage.open(key) as stream:
        assert stream.read() == sent
    direct.discard(key)
    direct.discard(key)
    assert list(direct.keys(older_than_s=-5)) == []


def test_what_has_another_length_is_not_adopted(s3_storage: Storage) -> None:
    direct, key = s3_storage.direct, new_key()
    assert direct is not None
    url, _ = direct.address(key, total=5, sha256=None, expires_s=60)
    httpx.put(url, content=b"seven b")
    assert direct.adopt(key, total=5) == 7
    assert s3_storage.size(key) is None


def test_length_and_checksum_are_part_of_what_is_signed(s3_storage: Storage) -> None:
    """The test server does not check signatures; a real one refuses what is not as signed."""
    assert s3_storage.direct is not None
    digest = hashlib.sha256(b"x").hexdigest()
    url, _ = s3_storage.direct.address(new_key(), total=1, sha256=digest, expires_s=60)
    signed = httpx.URL(url).params["X-Amz-SignedHeaders"].split(";")
    assert {"content-length", "host", "x-amz-checksum-sha256"} <= set(signed)


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///x", "s3://key:secret@bucket", "s3://bucket?zone=1", "s3://b?addressing=odd"],
)
def test_an_address_that_cannot_be_meant_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError, match="STORAGE_URL"):
        open_storage(url, home=tmp_path)
