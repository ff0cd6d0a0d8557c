"""The engines of this machine as its settings want them: runners, plans, memory."""

from app.settings import MissingSettingError, Settings
from engines.choice import Policy, RunnerName
from engines.media.limits import MediaLimits
from engines.opening import RunnerOpener
from engines.plans.cache import PlanCache
from engines.registry import Registry, open_registry
from engines.sessions import Sessions


def runner_policy(settings: Settings) -> Policy:
    """What the operator decided; raises ``MissingSettingError`` for a runner nobody knows."""
    wanted = settings.runner
    if wanted is not None and wanted not in set(RunnerName):
        message = f"PIXELMETER_RUNNER must be one of {', '.join(RunnerName)}, got {wanted!r}"
        raise MissingSettingError(message)
    return Policy(
        runner=None if wanted is None else RunnerName(wanted),
        may_fall_back=settings.runner_fallback,
    )


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
