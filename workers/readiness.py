"""Which models this process knows to need no building of plans."""

import logging
from typing import Protocol

from engines.loading import network_sources
from engines.opening import NetworkSource
from engines.registry import Registry

log = logging.getLogger(__name__)


class PlanFacts(Protocol):
    """What is asked about plans; ``engines.opening.RunnerOpener`` knows it."""

    @property
    def may_use_plans(self) -> bool:
        """Whether anything here runs plans; cheap."""

    def must_build(self, source: NetworkSource) -> bool:
        """Whether loading a network would build its plan before; reads the file."""


class Readiness:
    """Used by the one thread that runs jobs.

    Args:
        plans: what is known about plans on this host.
    """

    def __init__(self, plans: PlanFacts) -> None:
        self._plans = plans
        self._ready: set[tuple[str, str]] = set()

    def is_ready(self, engine: str, model: str) -> bool:
        """Whether a job may begin at once; touches no file, so it can be asked in a claim."""
        return not self._plans.may_use_plans or (engine, model) in self._ready

    def make_ready(self, registry: Registry, engine: str, model: str) -> None:
        """Load those networks of a model whose plans are missing, which builds them.

        Raises:
            EngineError: the model is unknown, a file is missing or wrong, or a build failed.
        """
        for source in network_sources(registry, registry.resolve(engine, model)):
            if self._plans.must_build(source):
                log.info("%s: its plan is built now, at its first use here", model)
                registry.sessions.runner(source)
        self._ready.add((engine, model))
