import pytest

from app.engine_room import open_engines, runner_policy
from app.settings import MissingSettingError, load_settings
from engines.choice import OPENVINO_PRECISIONS, Policy, RunnerName
from engines.runners.ov import PRECISIONS


def test_the_runner_asked_for_and_the_limits_reach_the_engines(tmp_path):
    settings = load_settings(
        {
            "PIXELMETER_HOME": str(tmp_path),
            "PIXELMETER_RUNNER": "openvino",
            "PIXELMETER_RUNNER_FALLBACK": "true",
            "PIXELMETER_PLAN_BUILD_S": "600",
            "PIXELMETER_MODEL_MEMORY_BYTES": "1000",
        }
    )
    sessions = open_engines(settings).sessions
    assert sessions.budget_bytes == 1000
    assert sessions.open_runner.policy.runner is RunnerName.OPENVINO
    assert sessions.open_runner.policy.may_fall_back
    assert sessions.open_runner.policy.plan_build_s == 600


def test_speed_for_exactness_is_off_and_can_be_chosen(tmp_path):
    home = {"PIXELMETER_HOME": str(tmp_path)}
    assert runner_policy(load_settings(home)) == Policy()
    chosen = {
        "PIXELMETER_TF32": "true",
        "PIXELMETER_CONV_SEARCH": "EXHAUSTIVE",
        "PIXELMETER_OPENVINO_PRECISION": "bf16",
    }
    assert runner_policy(load_settings(home | chosen)) == Policy(
        tf32=True, conv_search="EXHAUSTIVE", openvino_precision="bf16"
    )


@pytest.mark.parametrize("name", ["PIXELMETER_CONV_SEARCH", "PIXELMETER_OPENVINO_PRECISION"])
def test_a_value_that_nobody_knows_is_refused_with_those_there_are(tmp_path, name):
    settings = load_settings({"PIXELMETER_HOME": str(tmp_path), name: "turbo"})
    with pytest.raises(MissingSettingError, match=f"{name} must be one of .*got 'turbo'"):
        runner_policy(settings)


def test_the_precisions_are_those_of_the_runner():
    assert tuple(PRECISIONS) == OPENVINO_PRECISIONS


def test_a_runner_that_nobody_knows_is_refused_with_the_names(tmp_path):
    settings = load_settings({"PIXELMETER_HOME": str(tmp_path), "PIXELMETER_RUNNER": "abacus"})
    with pytest.raises(MissingSettingError, match="tensorrt-rtx"):
        runner_policy(settings)
