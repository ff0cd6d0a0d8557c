"""The ZIP of a batch: whole for any reader, made in little memory, without what is gone."""

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from app.batches.archive import PIECE_BYTES, stream_archive
from app.batches.queries import Output
from app.storage import Storage, open_storage

LARGE = 24 * 1024 * 1024


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(f"file://{tmp_path / 'files'}")


def output(storage: Storage, content: bytes, *, position: int = 0, name: str = "a.png") -> Output:
    key = storage.put_stream(io.BytesIO(content))
    return Output(position=position, storage_key=key, name=name, bytes=len(content))


def test_every_member_has_its_own_name_and_bytes(storage: Storage) -> None:
    files = [os.urandom(size) for size in (0, 1, PIECE_BYTES, PIECE_BYTES + 1)]
    outputs = [output(storage, content) for content in files]
    whole = b"".join(stream_archive(storage, outputs))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        names = [f"00000-{number}a.png" for number in ("", "2-", "3-", "4-")]
        assert archive.namelist() == names
        assert [archive.read(name) for name in names] == files


def test_files_that_are_gone_are_left_out(storage: Storage) -> None:
    gone, kept = output(storage, b"gone"), output(storage, b"kept", position=12_345)
    storage.delete(gone.storage_key)
    whole = b"".join(stream_archive(storage, [gone, kept]))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.namelist() == ["12345-a.png"]
    empty = b"".join(stream_archive(storage, [gone]))
    assert zipfile.ZipFile(io.BytesIO(empty)).namelist() == []


def test_a_large_file_passes_through_piece_by_piece(storage: Storage) -> None:
    large = output(storage, bytes(LARGE))
    tracemalloc.start()
    size = sum(len(piece) for piece in stream_archive(storage, [large, large]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 2 * LARGE
    assert peak < 8 * PIECE_BYTES
