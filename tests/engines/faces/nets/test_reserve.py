import logging

import numpy as np
import pytest
from face_networks import swapper

from engines.faces.nets.contracts import swapper_contract
from engines.faces.nets.latents import UnitLatents
from engines.faces.nets.reserve import ReserveRunner
from engines.faces.nets.swapper import Swapper
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner
from engines.runners.network import NotANumberError
from engines.runners.ort import open_onnx

ONE = np.ones((1, 2), np.float32)


def giving(value: float, precision: str = "fp32") -> FakeRunner:
    spec = TensorSpec("x", (1, 2), np.dtype(np.float32))
    return FakeRunner(
        lambda feeds: {"y": feeds["x"] * np.float32(value)},
        inputs=(spec,),
        outputs=(TensorSpec("y", (1, 2), np.dtype(np.float32)),),
        precision=precision,
    )


def reserved(preferred: FakeRunner, reserve: FakeRunner) -> tuple[ReserveRunner, list[int]]:
    opened: list[int] = []

    def open_reserve() -> FakeRunner:
        opened.append(1)
        return reserve

    runner = ReserveRunner(preferred, open_reserve, name="swap_fp16.onnx", reserve="swap.onnx")
    return runner, opened


def test_as_long_as_there_are_numbers_the_reserve_is_not_opened():
    runner, opened = reserved(giving(2, "fp16"), giving(3))
    assert runner.run({"x": ONE})["y"].tolist() == [[2, 2]]
    assert runner.switched is None
    assert runner.precision == "fp16"
    assert not opened


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_without_numbers_the_reserve_answers_the_same_question_and_it_is_said(value, caplog):
    preferred = giving(value, "fp16")
    runner, opened = reserved(preferred, giving(3))
    with caplog.at_level(logging.WARNING):
        assert runner.run({"x": ONE})["y"].tolist() == [[3, 3]]
    assert runner.run({"x": ONE})["y"].tolist() == [[3, 3]]
    assert preferred.calls == 1
    assert len(opened) == 1
    assert runner.precision == "fp32"
    assert runner.switched == "swap_fp16.onnx gave no numbers here; swap.onnx was used instead"
    assert runner.switched in caplog.text
    assert runner.elapsed_ms >= 0
    assert runner.twin() is None


def test_a_reserve_without_numbers_is_an_error():
    runner, _ = reserved(giving(np.nan), giving(np.nan))
    with pytest.raises(NotANumberError):
        runner.run({"x": ONE})


def test_closing_frees_both():
    preferred, reserve = giving(np.nan), giving(3)
    runner, _ = reserved(preferred, reserve)
    with runner:
        runner.run({"x": ONE})
    assert preferred.is_closed
    assert reserve.is_closed
    assert runner.is_closed


def test_a_swapper_whose_weights_give_nan_draws_with_the_reserve_and_says_so(tmp_path):
    broken = open_onnx(swapper(tmp_path / "half.onnx", size=128, factor=np.nan), threads=1)
    whole = open_onnx(swapper(tmp_path / "whole.onnx", size=128), threads=1)
    runner = ReserveRunner(broken, lambda: whole, name="half.onnx", reserve="whole.onnx")
    contract = swapper_contract("inswapper-128")
    crops = np.full((2, 128, 128, 3), 90, np.uint8)
    latents = np.ones((2, 512), np.float32)
    drawn = Swapper(runner, contract, UnitLatents()).swap(crops, latents)
    assert np.array_equal(drawn, Swapper(whole, contract, UnitLatents()).swap(crops, latents))
    assert runner.switched == "half.onnx gave no numbers here; whole.onnx was used instead"
