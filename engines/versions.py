"""Which version of a model a request means. Pure."""

from collections.abc import Callable, Mapping, Sequence

from engines.errors import InvalidInputError
from engines.manifest import Manifest, ManifestError, ModelVersion


def choose(
    manifest: Manifest,
    asked: str | None,
    *,
    active: Mapping[str, str],
    can_run: Callable[[ModelVersion], bool],
) -> ModelVersion:
    """The version that ``asked`` means.

    Args:
        manifest: the engine with every version it has.
        asked: ``name``, ``name@version`` or an alias; None: the first model that can run here.
        active: the version that an operator chose for a name; a name without one means its newest,
            fp16 variants aside.
        can_run: whether a version has its weights here.

    Raises:
        InvalidInputError: code ``unknown_model``.
        ManifestError: the chosen version of a name does not exist.
    """
    if asked is None:
        names = dict.fromkeys(each.name for each in manifest.models)
        meant = [current(manifest, name, active=active) for name in names]
        return next((each for each in meant if can_run(each)), meant[-1])
    name, at, version = asked.partition("@")
    name = manifest.aliases.get(name, name)
    versions = versions_of(manifest.models, name)
    if at:
        versions = [each for each in versions if each.version == version]
    if not versions:
        names = dict.fromkeys(each.name for each in manifest.models)
        message = f"{manifest.name} has no model {asked!r}; it has {', '.join(names)}"
        raise InvalidInputError(message, code="unknown_model")
    return versions[0] if at else current(manifest, name, active=active)


def current(manifest: Manifest, name: str, *, active: Mapping[str, str]) -> ModelVersion:
    """What the plain name of a model means now; raises ``ManifestError``."""
    versions = versions_of(manifest.models, name)
    if name not in active:
        # fp16 variants are for whoever asks: nobody's results change because one was made
        whole = [each for each in versions if not each.halved_from]
        return max(whole, key=lambda each: int(each.version))
    found = [each for each in versions if each.version == active[name]]
    if not found:
        message = (
            f"{name}@{active[name]} is active in registry.toml and does not exist; "
            f"choose a version with `pixelmeter models activate {manifest.name} {name}@VERSION`"
        )
        raise ManifestError(message)
    return found[0]


def versions_of(models: Sequence[ModelVersion], name: str) -> list[ModelVersion]:
    """Every version of one name, in the order given."""
    return [each for each in models if each.name == name]
