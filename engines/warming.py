"""Loading a model before anybody asks for it, and running it once, so that no job pays for it."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from engines.errors import EngineError
from engines.loading import network_sources
from engines.manifest import ModelVersion
from engines.opening import NetworkSource
from engines.profiles import Profile, choose_profiles
from engines.registry import Registry
from engines.runners.base import Feeds, Runner, TensorSpec
from engines.spec import BatchEngine


@dataclass(frozen=True, slots=True)
class Warmed:
    """What warming up came to."""

    networks: int  # 0: the model is built in
    ms: float
    runner: str = ""  # what executes them, e.g. onnxruntime


def warm(registry: Registry, engine: str, model: ModelVersion) -> Warmed:
    """Load every network of a model for good, and run each once where its shapes are known.

    A plan that is missing is built here. An extra that is not on this machine is left out.

    Raises:
        EngineError: a file is missing or wrong, or nothing here runs it.
    """
    started = perf_counter()
    registry.require(model)
    sources = network_sources(registry, model)
    kinds: dict[str, None] = {}
    for source in sources:
        for runner in _pinned(registry, engine, source):
            _run_once(runner, source)
            kinds[runner.kind] = None
    return Warmed(len(sources), (perf_counter() - started) * 1000, ", ".join(kinds))


def usual_feeds(
    inputs: tuple[TensorSpec, ...], profiles: tuple[Profile, ...], *, file: str
) -> Feeds:
    """Noise in the shapes a network usually sees and within the values it is fed.

    Raises:
        EngineFaultError: code ``profile_missing``: a length is free and no profile says which.
    """
    chosen = choose_profiles({spec.name: spec.shape for spec in inputs}, profiles, file=file)
    by_input = {each.input: each for each in chosen}
    noise = np.random.default_rng(0)
    feeds = {}
    for spec in inputs:
        profile = by_input.get(spec.name)
        shape = tuple(length or 1 for length in spec.shape) if profile is None else profile.opt
        low, high = (0.0, 1.0) if profile is None else profile.values
        feeds[spec.name] = noise.uniform(low, high, shape).astype(spec.dtype)
    return feeds


def _pinned(registry: Registry, engine: str, source: NetworkSource) -> tuple[Runner, ...]:
    """The runners that jobs of the engine will use; twins share what the first one has."""
    sessions = registry.sessions
    whole = sessions.runner(source, pin=True).value
    if not isinstance(registry.engine(engine), BatchEngine):
        return (whole,)
    first_lane = sessions.lanes(source, pin=True).value[0]
    return (whole,) if first_lane is whole else (whole, first_lane)


def _run_once(runner: Runner, source: NetworkSource) -> None:
    """The first run takes memory and chooses kernels; where it cannot be tried, a job does it."""
    try:
        feeds = usual_feeds(runner.inputs, source.profiles, file=source.path.name)
    except EngineError:
        return
    runner.run(feeds)
