import pytest
from click.testing import CliRunner

from app.cli.main import cli

TINY = ["models", "build", "--model", "tiny", "--target", "sm89"]


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.setenv("PIXELMETER_HOME", str(tmp_path))
    monkeypatch.delenv("PIXELMETER_MODEL_MIRROR", raising=False)
    return lambda *words: CliRunner().invoke(cli, list(words))


def test_a_plan_is_built_without_a_gpu_and_found_the_second_time(
    invoke, model_mirror, monkeypatch, tmp_path
):
    pytest.importorskip("tensorrt_rtx_bindings", reason="the extra plans is not installed")
    monkeypatch.setenv("PIXELMETER_MODEL_MIRROR", str(model_mirror))
    first, second = invoke(*TINY), invoke(*TINY)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert "found" not in first.output
    assert "found" in second.output
    assert len(list((tmp_path / "models" / "plans").glob("*.plan"))) == 1


def test_without_its_weights_nothing_is_built(invoke):
    pytest.importorskip("tensorrt_rtx_bindings", reason="the extra plans is not installed")
    result = invoke(*TINY)
    assert result.exit_code != 0
    assert "no weights of tiny" in (result.output + str(result.exception))
