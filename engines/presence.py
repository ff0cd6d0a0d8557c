"""Which weights files are on this machine, and whether they are what was registered."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from engines.manifest import Manifest, ModelVersion, WeightsFile
from engines.weights import WeightsError, WeightsStore, missing_weights


class Presence(StrEnum):
    """How a weights file stands on this machine."""

    OK = "ok"  # present, sha256 checked
    MISSING = "missing"  # not here; pull it
    CORRUPT = "corrupt"  # here, but other bytes than registered
    UNREGISTERED = "unregistered"  # the operator has to bring it


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ``verify`` found for one file of one model."""

    engine: str
    model: str  # name@version
    file: str | None  # None: no file is registered
    presence: Presence
    detail: str


def verify_files(manifests: Iterable[Manifest], store: WeightsStore) -> list[Verdict]:
    """Hash every file that is here, for every model of every engine."""
    return [
        verdict
        for manifest in manifests
        for model in manifest.models
        for verdict in _verdicts(manifest.name, model, store)
    ]


def _verdicts(engine: str, model: ModelVersion, store: WeightsStore) -> Iterator[Verdict]:
    if model.needs_weights and not model.weights:
        detail = missing_weights(model, None).detail
        yield Verdict(engine, model.id, None, Presence.UNREGISTERED, detail)
    for file in (*model.weights, *model.extras):
        yield Verdict(engine, model.id, file.file, *_presence(model, file, store))


def _presence(model: ModelVersion, file: WeightsFile, store: WeightsStore) -> tuple[Presence, str]:
    try:
        path = store.verified(file)
    except WeightsError as error:
        return Presence.CORRUPT, error.detail
    if path is None:
        return Presence.MISSING, missing_weights(model, file).detail
    return Presence.OK, str(path)
