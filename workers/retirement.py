"""Letting go of a model version that an operator switched away, once its last jobs are done.

A version that nobody means by name any more, and that no job used for ``IDLE_S``, gives its memory
back between two runs. Whoever still asks for it by ``name@version`` has it loaded again. A tenant's
own weights are a process each: idle for ``OWN_IDLE_S`` they go too.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engines.errors import EngineError, InvalidInputError
from engines.manifest import ModelVersion
from engines.registry import Registry

log = logging.getLogger(__name__)

IDLE_S = 10.0
OWN_IDLE_S = 60.0

Used = tuple[str, str]  # engine, name@version


class Retirement:
    """What this process ran, and when last. Used by the one thread that runs jobs."""

    def __init__(
        self, *, idle_s: float = IDLE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._idle_s = idle_s
        self._clock = clock
        self._last: dict[Used, float] = {}
        self._own: dict[Path, float] = {}

    def used(self, engine: str, model: str) -> None:
        """Note that a run on this version has just ended."""
        self._last[engine, model] = self._clock()

    def used_own(self, weights: Path) -> None:
        """Note that a run on a tenant's own weights begins."""
        self._own[weights] = self._clock()

    def let_go(self, registry: Registry) -> list[str]:
        """Free what is idle and not active; returns the versions. Call it between runs."""
        horizon = self._clock() - self._idle_s
        gone = self._let_own_go(registry)
        for engine, model in [used for used, last in self._last.items() if last <= horizon]:
            version = _version(registry, engine, model)
            if version is not None and registry.is_active(engine, version):
                continue
            del self._last[engine, model]
            if version is not None and _free(registry, version):
                gone.append(model)
                log.info("%s is not active any more; its memory was given back", model)
        return gone

    def _let_own_go(self, registry: Registry) -> list[str]:
        horizon = self._clock() - OWN_IDLE_S
        idle = [weights for weights, last in self._own.items() if last <= horizon]
        for weights in idle:
            del self._own[weights]
            registry.sessions.forget(weights)
        return [weights.stem for weights in idle]


def _version(registry: Registry, engine: str, model: str) -> ModelVersion | None:
    """None for a tenant's own model, which the registry does not know and nobody switches."""
    try:
        return registry.resolve(engine, model)
    except InvalidInputError:
        return None


def _free(registry: Registry, version: ModelVersion) -> bool:
    freed = False
    for file in version.weights:
        with suppress(EngineError):  # a file that is gone was loaded from its path all the same
            freed = registry.sessions.forget(registry.weights_path(version, file.file)) or freed
    return freed
