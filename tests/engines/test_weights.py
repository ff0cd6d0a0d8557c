import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engines.errors import ExhaustedError
from engines.manifest import WeightsFile
from engines.weights import WeightsError, WeightsStore

CONTENT = bytes(range(256)) * 10_000


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder behind a local HTTP address."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    server.handle_error = lambda *hung_up: None  # a client that saw enough closes the connection
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def declared(content=CONTENT, *, url=None):
    return WeightsFile(
        file="net.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        licence="MIT",
        source="us",
        url=url,
    )


def test_a_url_mirror_is_fetched_with_progress_and_checked(tmp_path, served):
    folder, address = served
    (folder / "net.onnx").write_bytes(CONTENT)
    store = WeightsStore(tmp_path / "store", mirror=address)
    assert store.find(declared()) is None
    seen = []
    path = store.fetch(declared(), lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("net.onnx", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_without_a_mirror_the_files_own_address_is_used(tmp_path, served):
    folder, address = served
    (folder / "v1.bin").write_bytes(CONTENT)
    store = WeightsStore(tmp_path / "store")
    assert store.fetch(declared(url=f"{address}/v1.bin")).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x", b""])
def test_another_file_than_declared_leaves_nothing_behind(tmp_path, served, content):
    folder, address = served
    (folder / "net.onnx").write_bytes(content)
    store = WeightsStore(tmp_path / "store", mirror=address)
    with pytest.raises(WeightsError) as refused:
        store.fetch(declared())
    assert refused.value.code == "weights_corrupt"
    assert list((tmp_path / "store").iterdir()) == []


def test_a_file_in_the_store_is_not_fetched_again(tmp_path, served):
    folder, address = served
    (folder / "net.onnx").write_bytes(CONTENT)
    store = WeightsStore(tmp_path / "store", mirror=address)
    store.fetch(declared())
    (folder / "net.onnx").unlink()
    assert store.fetch(declared()).is_file()


def test_a_source_that_lacks_the_file_says_what_to_set(tmp_path, served):
    _, address = served
    store = WeightsStore(tmp_path / "store", mirror=address)
    with pytest.raises(WeightsError, match=r"404.*PIXELMETER_MODEL_MIRROR"):
        store.fetch(declared())


def test_a_file_nobody_offers_says_how_to_bring_it(tmp_path):
    with pytest.raises(WeightsError, match="PIXELMETER_MODEL_MIRROR"):
        WeightsStore(tmp_path).fetch(declared())


def test_only_web_addresses_are_fetched(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    with pytest.raises(WeightsError, match="only http and https"):
        WeightsStore(tmp_path / "store").fetch(declared(url=secret.as_uri()))


def test_a_store_that_cannot_be_made_is_said(tmp_path, served):
    folder, address = served
    (folder / "net.onnx").write_bytes(CONTENT)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ExhaustedError, match="cannot write weights"):
        WeightsStore(tmp_path / "file" / "store", mirror=address).fetch(declared())


def test_the_store_goes_before_the_mirror(tmp_path):
    for name in ("store", "mirror"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.onnx").write_bytes(CONTENT)
    store = WeightsStore(tmp_path / "store", mirror=str(tmp_path / "mirror"))
    assert store.verified(declared()) == tmp_path / "store" / "net.onnx"


def test_a_changed_file_is_hashed_again(tmp_path):
    (tmp_path / "net.onnx").write_bytes(CONTENT)
    store = WeightsStore(tmp_path)
    assert store.verified(declared()) is not None
    (tmp_path / "net.onnx").write_bytes(CONTENT[::-1])
    with pytest.raises(WeightsError):
        store.verified(declared())
