"""Build one plan from the bytes of an ONNX file. No GPU is needed for the RTX flavour."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from engines.errors import EngineFaultError, InvalidInputError
from engines.profiles import Profile
from engines.runners.flavours import Complaints, Flavour, FlavourName
from engines.runners.host import Gpu

Progress = Callable[[str, int, int], None]  # phase, steps done, steps in all
_TARGET = re.compile(r"sm\d{2,3}")


def check_target(flavour: Flavour, target: str, gpus: Sequence[Gpu] = ()) -> None:
    """Raise ``InvalidInputError`` code ``target_unsupported`` unless this host can build for it.

    The RTX flavour builds for any of its targets anywhere; the other one for the GPUs of this host.
    """
    if flavour.name is FlavourName.TENSORRT_RTX:
        known = targets(flavour)
    else:
        known = [gpu.target for gpu in gpus]
    if target not in known:
        there = f"builds here for {', '.join(known)}" if known else "needs the GPU it builds for"
        message = f"{flavour.name} {flavour.version} {there}, not for {target!r}"
        raise InvalidInputError(message, code="target_unsupported")


def targets(flavour: Flavour) -> list[str]:
    """What the RTX flavour builds for, e.g. ``["sm75", "sm80", ...]``."""
    members = (name.lower() for name in dir(flavour.trt.ComputeCapability))
    found = [name for name in members if _TARGET.fullmatch(name)]
    return sorted(found, key=lambda name: int(name[2:]))


def build_plan(
    model: bytes,
    *,
    flavour: Flavour,
    target: str,
    profiles: Sequence[Profile],
    tf32: bool = False,
    progress: Progress | None = None,
) -> bytes:
    """The serialized engine.

    Args:
        model: an ONNX file that ONNX Runtime has loaded from bytes, so without external data.
        flavour: what builds.
        target: as ``check_target`` let through.
        profiles: one for each input with a free length.
        tf32: let fp32 products be rounded to TF32.
        progress: told after every step of TensorRT's own phases, from any thread.

    Raises:
        EngineFaultError: code ``plan_failed``; the message has TensorRT's own reason.
    """
    trt, complaints = flavour.trt, Complaints()
    builder = trt.Builder(flavour.logger(complaints))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse(model):
        reasons = [parser.get_error(place).desc() for place in range(parser.num_errors)]
        raise _failed(flavour, target, "; ".join(reasons)[:500] or complaints.take())
    config = builder.create_builder_config()
    if flavour.name is FlavourName.TENSORRT_RTX:
        config.num_compute_capabilities = 1
        capability = getattr(trt.ComputeCapability, target.upper())
        if not config.set_compute_capability(capability, 0):
            raise _failed(flavour, target, complaints.take())
    if not tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # set by default
    if profiles and config.add_optimization_profile(_profile(builder, profiles)) < 0:
        raise _failed(flavour, target, complaints.take())
    monitor = None if progress is None else _monitor(trt, progress)  # lives as long as the build
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _failed(flavour, target, complaints.take())
    return bytes(plan)


def _profile(builder: Any, profiles: Sequence[Profile]) -> Any:  # noqa: ANN401 - TensorRT's own
    made = builder.create_optimization_profile()
    for each in profiles:
        made.set_shape(each.input, each.min, each.opt, each.max)
    return made


def _failed(flavour: Flavour, target: str, reason: str) -> EngineFaultError:
    message = f"{flavour.name} {flavour.version} built no plan for {target}: {reason}"
    error = EngineFaultError(message, code="plan_failed")
    error.retryable = False
    return error


def _monitor(trt: Any, progress: Progress) -> Any:  # noqa: ANN401 - TensorRT's own
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:  # noqa: ARG002
            self._phases[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, max(self._phases.get(phase_name, 0), step + 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

    return Monitor()
