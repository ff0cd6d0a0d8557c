"""Which runner executes a network on this host: a fixed order, and a reason for each passed over.

Pure: the facts of the host and of the network's plans go in, the choice and its reasons come out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from engines.errors import EngineFaultError
from engines.runners.host import Host

PLAN_BUILD_S = 1200
OPENVINO_PRECISIONS = ("f32", "bf16", "f16")
CONV_SEARCHES = ("HEURISTIC", "EXHAUSTIVE", "DEFAULT")  # of ONNX Runtime's CUDA provider


class RunnerName(StrEnum):
    """What may execute an ONNX network, in order of preference."""

    TENSORRT = "tensorrt"  # a plan, on a data-centre or workstation GPU
    TENSORRT_RTX = "tensorrt-rtx"  # a plan, on an RTX GPU
    ORT_CUDA = "onnxruntime-cuda"  # the ONNX file, on any NVIDIA GPU
    OPENVINO = "openvino"  # the ONNX file, on the CPU; only when asked for
    ORT = "onnxruntime"  # the ONNX file, on any CPU


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decided."""

    runner: RunnerName | None = None  # None: the first of the order that can
    may_fall_back: bool = False  # from a runner asked for, or one that fails to load
    openvino_precision: str = "f32"
    conv_search: str = "HEURISTIC"  # cudnn_conv_algo_search of ONNX Runtime
    tf32: bool = False  # let a GPU round fp32 factors to 10 bits: faster, and not the reference
    gpu: int = 0  # which device
    plan_build_s: int = PLAN_BUILD_S  # a plan that is not built by then is given up


@dataclass(frozen=True, slots=True)
class Candidate:
    """One runner and why it cannot be used; None: it can."""

    name: RunnerName
    obstacle: str | None


class RunnerUnavailableError(EngineFaultError):
    """Raised when the runner asked for cannot be used here; a retry on this host never helps."""

    code = "runner_unavailable"
    retryable = False


def candidates(
    host: Host, policy: Policy, plans: Mapping[RunnerName, str | None]
) -> tuple[Candidate, ...]:
    """Every runner in the order it is considered, with what is in its way.

    Args:
        host: what is here.
        policy: a runner asked for is considered first.
        plans: what stands in the way of a plan, by flavour; None: it is here or can be built.
    """
    names = list(RunnerName)
    if policy.runner is not None:
        names.remove(policy.runner)
        names.insert(0, policy.runner)
    return tuple(Candidate(name, _obstacle(name, host, policy, plans)) for name in names)


def choose(found: tuple[Candidate, ...], policy: Policy) -> tuple[RunnerName, ...]:
    """The runners to try, best first; more than one only where falling back is allowed.

    Raises:
        RunnerUnavailableError: the one asked for cannot be used and falling back is not allowed.
    """
    usable = tuple(each.name for each in found if each.obstacle is None)
    if policy.may_fall_back:
        return usable
    if policy.runner is not None and policy.runner not in usable:
        obstacle = found[0].obstacle
        message = (
            f"the runner {policy.runner} was asked for and cannot be used: {obstacle}. Set "
            "PIXELMETER_RUNNER to another one, leave it out, or set PIXELMETER_RUNNER_FALLBACK=true"
        )
        raise RunnerUnavailableError(message)
    return usable[:1]


def _obstacle(
    name: RunnerName, host: Host, policy: Policy, plans: Mapping[RunnerName, str | None]
) -> str | None:
    match name:
        case RunnerName.ORT:
            return None
        case RunnerName.OPENVINO:
            if "openvino" not in host.modules:
                return "not installed (extra openvino)"
            return None if policy.runner is name else "only when asked for"
        case _:
            return _gpu_obstacle(name, host, policy, plans)


def _gpu_obstacle(
    name: RunnerName, host: Host, policy: Policy, plans: Mapping[RunnerName, str | None]
) -> str | None:
    if len(host.gpus) <= policy.gpu:
        return "no NVIDIA GPU here" if policy.gpu == 0 else f"there is no GPU {policy.gpu}"
    if "pycuda" not in host.modules:
        return "pycuda is not installed (extra gpu)"
    if name is RunnerName.ORT_CUDA:
        return None if host.has_ort_cuda else "onnxruntime-gpu is not installed (extra gpu)"
    modules = {"tensorrt"}
    extra = "tensorrt"
    if name is RunnerName.TENSORRT_RTX:
        modules, extra = {"tensorrt_rtx", "tensorrt_rtx_bindings"}, "plans"
    if not modules & host.modules:
        return f"not installed (extra {extra})"
    return plans.get(name, "no plan")
