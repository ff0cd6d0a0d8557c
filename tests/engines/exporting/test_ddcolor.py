"""What can be said about an export without torch: what is missing, and what does not fit."""

from importlib.util import find_spec

import pytest

from engines.errors import EngineFaultError, InvalidInputError
from engines.exporting.ddcolor import (
    FIRST_LAYER,
    check_overlap,
    encoder_of,
    export_ddcolor,
    free_axes,
    require,
)
from tests.networks import write_colours

SHAPES = {"a.weight": (4, 3), "a.bias": (4,), "b.weight": (2, 4)}


def test_the_encoder_is_told_by_the_first_layer():
    assert encoder_of({FIRST_LAYER: (96, 3, 4, 4)}) == "convnext-t"
    assert encoder_of({FIRST_LAYER: (192, 3, 4, 4)}) == "convnext-l"
    with pytest.raises(InvalidInputError, match="no DDColor"):
        encoder_of({"something": (1,)})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a.weight": (4, 3), "a.bias": (4,)}, r"67% .*1 missing in it \(b.weight\)"),
        ({**SHAPES, "c": (1,)}, r"1 unknown to the code \(c\)"),
        ({**SHAPES, "a.bias": (5,)}, r"1 of another shape \(a.bias\)"),
    ],
)
def test_one_weight_too_few_or_too_many_is_named(given, told):
    check_overlap(SHAPES, SHAPES)
    with pytest.raises(InvalidInputError, match=told) as refused:
        check_overlap(given, SHAPES)
    assert refused.value.code == "checkpoint_mismatch"


def test_what_is_not_installed_is_named_with_the_way_out():
    with pytest.raises(InvalidInputError, match=r"no_such_thing.*pixelmeter\[export\]") as refused:
        require(("numpy", "no_such_thing"))
    assert refused.value.code == "export_unavailable"


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is here")
def test_without_torch_nothing_is_begun(tmp_path):
    with pytest.raises(InvalidInputError, match="torch"):
        export_ddcolor(tmp_path / "a.pth", tmp_path, tmp_path / "a.onnx", say=print)
    assert not list(tmp_path.iterdir())


def test_an_export_must_leave_batch_and_size_free(tmp_path):
    assert free_axes(write_colours(tmp_path / "a.onnx")) == ("n", "h", "w")
    with pytest.raises(EngineFaultError, match="free axes"):
        free_axes(write_colours(tmp_path / "b.onnx", batch=1, size=(256, 256)))
