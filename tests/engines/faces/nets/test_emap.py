import hashlib

import numpy as np
import onnx
import pytest
from face_networks import converter, swapper
from onnx import numpy_helper

from engines.errors import ExhaustedError
from engines.faces.nets.contracts import ContractError
from engines.faces.nets.emap import export_emap, load_emap


@pytest.fixture
def weights(tmp_path):
    """A file whose last tensor is a matrix of 512 x 512."""
    return converter(tmp_path / "inswapper.onnx")


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_matrix_is_written_once_and_read_from_then_on(tmp_path, weights):
    folder = tmp_path / "emaps"
    name = sha256(weights)
    first = load_emap(weights, name, folder)
    assert [path.name for path in folder.iterdir()] == [f"{name}.emap.npy"]
    weights.unlink()  # the weights are not opened again
    assert np.array_equal(load_emap(weights, name, folder), first)


def test_a_damaged_copy_is_made_again(tmp_path, weights):
    name = sha256(weights)
    for content in (b"", b"not an array", b"\x93NUMPY\x01\x00"):
        (tmp_path / f"{name}.emap.npy").write_bytes(content)
        assert load_emap(weights, name, tmp_path).shape == (512, 512)
    np.save(tmp_path / f"{name}.emap.npy", np.zeros((3, 3), np.float32))
    assert load_emap(weights, name, tmp_path).shape == (512, 512)


@pytest.mark.parametrize("what", ["shape", "order", "none", "empty", "no onnx"])
def test_a_file_without_the_matrix_is_refused_and_nothing_is_written(what, tmp_path, weights):
    if what == "shape":
        swapper(weights)
    elif what == "no onnx":
        weights.write_bytes(b"\xff" * 100)
    else:
        model = onnx.load(weights)
        extra = {
            "order": numpy_helper.from_array(np.ones(4, np.float32), "later"),
            "empty": numpy_helper.from_array(np.zeros((512, 512), np.float32), "zeros"),
        }
        if what == "none":
            del model.graph.initializer[:]
        else:
            model.graph.initializer.append(extra[what])
        onnx.save(model, weights)
    with pytest.raises(ContractError, match=r"carries no matrix.*as it was published") as caught:
        load_emap(weights, "0" * 64, tmp_path / "emaps")
    assert caught.value.code == "emap_wrong"
    assert not (tmp_path / "emaps").exists()


def test_a_half_precision_file_gives_its_own_matrix_in_full_precision(tmp_path, weights):
    model = onnx.load(weights)
    matrix = numpy_helper.to_array(model.graph.initializer[-1])
    model.graph.initializer[-1].CopyFrom(
        numpy_helper.from_array(matrix.astype(np.float16), "weights")
    )
    onnx.save(model, weights)
    emap = export_emap(weights)
    assert emap.dtype == np.float32
    assert np.abs(emap - matrix).max() < 1e-3


def test_a_folder_that_cannot_be_written_is_said(tmp_path, weights):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ExhaustedError, match="cannot write"):
        load_emap(weights, "0" * 64, tmp_path / "taken")
