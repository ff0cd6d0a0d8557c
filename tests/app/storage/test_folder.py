"""Objects are whole or absent, names are ours, nothing stays behind."""

import io
import os
from pathlib import Path

import pytest

from app.storage import FileStorage, StorageError, open_storage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def storage(root: Path) -> FileStorage:
    return FileStorage(root)


def _everything(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_what_is_put_comes_back(storage: FileStorage) -> None:
    key = storage.put_stream(io.BytesIO(b"picture"))
    with storage.open(key) as stream:
        assert stream.read() == b"picture"
    assert storage.path(key).read_bytes() == b"picture"


def test_a_stored_file_is_a_copy_unless_it_is_moved(storage: FileStorage, tmp_path: Path) -> None:
    original = tmp_path / "a.png"
    original.write_bytes(b"bytes")
    key = storage.put_file(original)
    assert original.exists()
    assert storage.path(key).read_bytes() == b"bytes"
    with storage.scratch() as path:
        path.write_bytes(b"moved")
        moved = storage.put_file(path, move=True)
    assert storage.path(moved).read_bytes() == b"moved"


def test_a_failed_write_leaves_nothing(storage: FileStorage, root: Path) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("the client went away")

    with pytest.raises(OSError, match="went away"):
        storage.put_stream(Broken())  # type: ignore[arg-type]
    assert _everything(root) == []


def test_scratch_files_go_with_their_block(storage: FileStorage, root: Path) -> None:
    def fail() -> None:
        with storage.scratch() as path:
            path.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert _everything(root) == []


def test_deleting_twice_is_fine(storage: FileStorage) -> None:
    key = storage.put_stream(io.BytesIO(b"x"))
    storage.delete(key)
    storage.delete(key)
    with pytest.raises(FileNotFoundError):
        storage.open(key)


@pytest.mark.parametrize(
    "key",
    ["../secret", "ab/../../etc/passwd", "/etc/passwd", "", "ab/" + "g" * 32, "ab/" + "a" * 31,
     "ab/" + "a" * 32 + "\n", "ab\\" + "a" * 32, "ab/" + "a" * 32 + "/..", "CON", "ab/\x00"],
)  # fmt: skip
def test_a_key_that_we_did_not_make_never_meets_the_disk(storage: FileStorage, key: str) -> None:
    with pytest.raises(StorageError):
        storage.path(key)
    with pytest.raises(StorageError):
        storage.delete(key)


def test_old_objects_and_dead_scratch_files_can_be_listed(storage: FileStorage, root: Path) -> None:
    old, young = (storage.put_stream(io.BytesIO(b"x")) for _ in range(2))
    os.utime(storage.path(old), (1, 1))
    assert list(storage.keys(older_than_s=60)) == [old]
    assert set(storage.keys(older_than_s=-1)) == {old, young}
    dead = root / "scratch" / "dead.tmp"
    dead.write_bytes(b"half")
    os.utime(dead, (1, 1))
    with storage.scratch() as alive:
        assert storage.clean_scratch(older_than_s=60) == 1
        assert alive.exists()
    assert not dead.exists()


def test_only_what_can_be_served_is_opened(tmp_path: Path) -> None:
    assert isinstance(open_storage(f"file://{tmp_path}/with%20space"), FileStorage)
    assert (tmp_path / "with space" / "objects").is_dir()
    for url in ("ftp://bucket/x", "file://host/x", "files", "file:relative"):
        with pytest.raises(StorageError, match="STORAGE_URL"):
            open_storage(url)
