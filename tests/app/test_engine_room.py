import pytest

from app.engine_room import open_engines, runner_policy
from app.settings import MissingSettingError, load_settings
from engines.choice import RunnerName


def test_the_runner_asked_for_and_the_budget_reach_the_engines(tmp_path):
    settings = load_settings(
        {
            "PIXELMETER_HOME": str(tmp_path),
            "PIXELMETER_RUNNER": "openvino",
            "PIXELMETER_RUNNER_FALLBACK": "true",
            "PIXELMETER_MODEL_MEMORY_BYTES": "1000",
        }
    )
    sessions = open_engines(settings).sessions
    assert sessions.budget_bytes == 1000
    assert sessions.open_runner.policy.runner is RunnerName.OPENVINO
    assert sessions.open_runner.policy.may_fall_back


def test_a_runner_that_nobody_knows_is_refused_with_the_names(tmp_path):
    settings = load_settings({"PIXELMETER_HOME": str(tmp_path), "PIXELMETER_RUNNER": "abacus"})
    with pytest.raises(MissingSettingError, match="tensorrt-rtx"):
        runner_policy(settings)
