"""The engines of this machine as its settings want them: runners, plans, memory."""

from collections.abc import Sequence

from app.settings import MissingSettingError, Settings
from engines.choice import CONV_SEARCHES, OPENVINO_PRECISIONS, Policy, RunnerName
from engines.media.limits import MediaLimits
from engines.opening import RunnerOpener
from engines.plans.cache import PlanCache
from engines.registry import Registry, open_registry
from engines.sessions import Sessions


def runner_policy(settings: Settings) -> Policy:
    """What the operator decided; raises ``MissingSettingError`` for a value nobody knows."""
    if settings.runner is not None:
        _one_of("PIXELMETER_RUNNER", settings.runner, tuple(RunnerName))
    return Policy(
        runner=None if settings.runner is None else RunnerName(settings.runner),
        may_fall_back=settings.runner_fallback,
        openvino_precision=_one_of(
            "PIXELMETER_OPENVINO_PRECISION", settings.openvino_precision, OPENVINO_PRECISIONS
        ),
        conv_search=_one_of("PIXELMETER_CONV_SEARCH", settings.conv_search, CONV_SEARCHES),
        tf32=settings.tf32,
        plan_build_s=settings.plan_build_s,
    )


def _one_of(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        message = f"{name} must be one of {', '.join(known)}, got {value!r}"
        raise MissingSettingError(message)
    return value


def plan_cache(settings: Settings) -> PlanCache:
    """Where TensorRT plans are kept."""
    return PlanCache(settings.home / "models" / "plans")


def runner_opener(settings: Settings) -> RunnerOpener:
    """What opens networks on this host as the operator decided."""
    return RunnerOpener(runner_policy(settings), plans=plan_cache(settings))


def open_engines(settings: Settings, limits: MediaLimits | None = None) -> Registry:
    """Every engine, its models and what is loaded of them."""
    opener = runner_opener(settings)
    return open_registry(
        store=settings.home / "models",
        mirror=settings.model_mirror,
        sessions=Sessions(open_runner=opener, budget_bytes=settings.model_memory_bytes or None),
        limits=limits,
        outside=settings.engine_folders,
    )
