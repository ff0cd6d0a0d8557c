"""The runner is chosen by a fixed order, and every other one has its reason."""

import pytest

from engines.choice import Policy, RunnerName, RunnerUnavailableError, candidates, choose
from engines.runners.host import Gpu, Host

L4 = Gpu(0, "NVIDIA L4", (8, 9), 24 << 30)
BARE = Host(gpus=(), modules=frozenset(), has_ort_cuda=False)
FULL = Host(
    gpus=(L4,),
    modules=frozenset({"tensorrt", "tensorrt_rtx_bindings", "pycuda", "openvino"}),
    has_ort_cuda=True,
)
READY = {RunnerName.TENSORRT: None, RunnerName.TENSORRT_RTX: None}


def chosen(host, policy=None, plans=READY):
    policy = policy or Policy()
    return choose(candidates(host, policy, plans), policy)


def without(host, *modules, **changes):
    facts = {"gpus": host.gpus, "modules": host.modules, "has_ort_cuda": host.has_ort_cuda}
    return Host(**{**facts, "modules": host.modules - set(modules), **changes})


@pytest.mark.parametrize(
    ("host", "plans", "name"),
    [
        (BARE, READY, RunnerName.ORT),
        (FULL, READY, RunnerName.TENSORRT),
        (without(FULL, "tensorrt"), READY, RunnerName.TENSORRT_RTX),
        (FULL, {**READY, RunnerName.TENSORRT: "no profile"}, RunnerName.TENSORRT_RTX),
        (without(FULL, "tensorrt", "tensorrt_rtx_bindings"), READY, RunnerName.ORT_CUDA),
        (without(FULL, "pycuda"), READY, RunnerName.ORT),
        (without(FULL, gpus=()), READY, RunnerName.ORT),
        (
            without(FULL, "tensorrt", "tensorrt_rtx_bindings", has_ort_cuda=False),
            READY,
            RunnerName.ORT,
        ),
    ],
)
def test_the_first_of_the_order_that_can_is_taken(host, plans, name):
    assert chosen(host, plans=plans) == (name,)


def test_everything_passed_over_has_a_reason_that_says_what_to_install():
    reasons = {each.name: each.obstacle for each in candidates(BARE, Policy(), READY)}
    assert list(reasons) == list(RunnerName)
    assert reasons[RunnerName.ORT] is None
    assert reasons[RunnerName.TENSORRT] == "no NVIDIA GPU here"
    assert "extra openvino" in reasons[RunnerName.OPENVINO]
    bare_gpu = without(BARE, gpus=(L4,))
    reasons = {each.name: each.obstacle for each in candidates(bare_gpu, Policy(), READY)}
    assert "extra gpu" in reasons[RunnerName.ORT_CUDA]


def test_openvino_runs_only_when_asked_for():
    host = without(FULL, gpus=())
    assert chosen(host) == (RunnerName.ORT,)
    assert chosen(host, Policy(runner=RunnerName.OPENVINO)) == (RunnerName.OPENVINO,)


def test_a_runner_asked_for_and_missing_is_an_error_with_ways_out():
    with pytest.raises(RunnerUnavailableError, match="PIXELMETER_RUNNER_FALLBACK") as refused:
        chosen(BARE, Policy(runner=RunnerName.TENSORRT))
    assert "no NVIDIA GPU here" in refused.value.detail
    assert (refused.value.code, refused.value.retryable) == ("runner_unavailable", False)


def test_falling_back_where_it_is_allowed_goes_on_in_the_order():
    policy = Policy(runner=RunnerName.TENSORRT_RTX, may_fall_back=True)
    assert chosen(BARE, policy) == (RunnerName.ORT,)
    assert chosen(FULL, policy) == (
        RunnerName.TENSORRT_RTX,
        RunnerName.TENSORRT,
        RunnerName.ORT_CUDA,
        RunnerName.ORT,
    )


def test_a_second_gpu_that_is_not_there_is_named():
    reasons = {each.name: each.obstacle for each in candidates(FULL, Policy(gpu=1), READY)}
    assert reasons[RunnerName.ORT_CUDA] == "there is no GPU 1"
