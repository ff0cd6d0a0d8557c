"""Switching the version that a model's plain name means, and back; nothing is restarted.

The decision is one entry of ``registry.toml``. Whoever turns names into versions reads it at the
next look: jobs accepted from then on get the new version, jobs accepted before keep theirs.
"""

from dataclasses import replace

from engines.errors import InvalidInputError
from engines.overlay import Active, Decisions
from engines.registry import Registry


def activate(registry: Registry, engine: str, model: str) -> Active:
    """Let the plain name of a model mean ``name@version`` for every new job.

    Raises:
        InvalidInputError: code ``unknown_engine``, ``unknown_model`` or ``version_missing``.
        WeightsError: its weights are not here or not what was registered; nothing changes.
    """
    if "@" not in model:
        message = f"say which version of {model}, for example {model}@1"
        raise InvalidInputError(message, code="version_missing")
    wanted = registry.resolve(engine, model)
    registry.require(wanted)
    for file in wanted.weights:
        registry.weights_path(wanted, file.file)
    newest = registry.newest(engine, wanted.name).version

    def decide(now: Decisions) -> Decisions:
        before = now.active_in(engine).get(wanted.name)
        meant = before.version if before else newest
        if before and meant == wanted.version:  # again: what it was before stays known
            return now
        others = tuple(each for each in now.active if each is not before)
        choice = Active(engine, wanted.name, wanted.version, previous=meant)
        return replace(now, active=(*others, choice))

    registry.store_folder.mkdir(parents=True, exist_ok=True)
    return registry.overlay.change(decide).active_in(engine)[wanted.name]


def activate_previous(registry: Registry, engine: str, name: str) -> Active:
    """Go back to the version that the name meant before the last ``activate``.

    Raises:
        InvalidInputError: code ``no_previous_version``, or like ``activate``.
    """
    name = registry.manifest(engine).aliases.get(name, name)
    choice = registry.overlay.read().active_in(engine).get(name)
    if choice is None or choice.previous == choice.version:
        message = f"{name} was not switched before; there is nothing to go back to"
        raise InvalidInputError(message, code="no_previous_version")
    return activate(registry, engine, f"{name}@{choice.previous}")
