"""From a model's declaration to its network: the verified file, its runner, what loading cost."""

from engines.manifest import ModelVersion, WeightsFile
from engines.opening import NetworkSource
from engines.registry import Registry, Services
from engines.runners.base import Runner
from engines.sessions import Loaded


def weights_source(
    registry: Registry, model: ModelVersion, file: str | None = None
) -> NetworkSource:
    """A verified weights file of a model, with what plans of it are for.

    Args:
        registry: where the file is looked for.
        model: as resolved.
        file: its name when the model has several; None: the only or first one.

    Raises:
        WeightsError: code ``weights_missing`` or ``weights_corrupt``.
    """
    declared = registry.weights_file(model, file)
    path = registry.weights_path(model, declared.file)
    return NetworkSource(path, declared.sha256, model.profiles)


def extra_source(registry: Registry, model: ModelVersion, file: str) -> NetworkSource | None:
    """A verified extra of a model; None when it is not on this machine."""
    path = registry.extra_path(model, file)
    if path is None:
        return None
    return NetworkSource(path, _sha256(model.extras, file), model.profiles)


def network_sources(registry: Registry, model: ModelVersion) -> list[NetworkSource]:
    """Every network that a model may load here: its weights, and those extras that are here.

    Raises:
        WeightsError: a file is missing or not what was registered.
    """
    extras = [extra_source(registry, model, file.file) for file in model.extras]
    return [
        *(weights_source(registry, model, file.file) for file in model.weights),
        *(extra for extra in extras if extra is not None),
    ]


def load_network(
    services: Services, model: ModelVersion, file: str | None = None
) -> Loaded[Runner]:
    """The network of a model, kept by the process; raises ``WeightsError`` without its weights."""
    return services.sessions.runner(weights_source(services.registry, model, file))


def load_extra(services: Services, model: ModelVersion, file: str) -> Loaded[Runner] | None:
    """The network of an extra; None when its file is not on this machine."""
    source = extra_source(services.registry, model, file)
    return None if source is None else services.sessions.runner(source)


def _sha256(files: tuple[WeightsFile, ...], name: str) -> str:
    return next(each.sha256 for each in files if each.file == name)
