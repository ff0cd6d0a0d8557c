"""Which engines and models there are, and where their weights are on this machine."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from engines.errors import EngineFaultError, InvalidInputError
from engines.manifest import (
    MANIFEST_FILE,
    Manifest,
    ManifestError,
    ModelVersion,
    WeightsFile,
    load_manifest,
    shipped_folders,
)
from engines.media.limits import MediaLimits
from engines.outside import import_engine, outside_folders
from engines.overlay import Overlay, Registered, merge, next_version
from engines.presence import Verdict, verify_files
from engines.runners.ort import open_onnx
from engines.sessions import Sessions
from engines.spec import Engine
from engines.versions import choose, current
from engines.weights import Progress, WeightsStore, missing_weights

OVERLAY_FILE = "registry.toml"


@dataclass(frozen=True, slots=True)
class Services:
    """What every engine is created with."""

    registry: "Registry"
    sessions: Sessions
    limits: MediaLimits


class Registry:
    """Engines by name, models by name and version, weights by sha256.

    Args:
        folders: engine folders, each with an ``engine.toml``; of this package or outside.
        store: where weights live on this machine, with the operator's ``registry.toml``.
        mirror: a folder or URL with weights; a folder is used in place, a URL only by ``pull``.
        sessions: what this process has loaded; None: a new one.
        limits: how large media may be; None: the defaults.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        store: Path,
        mirror: str | None = None,
        sessions: Sessions | None = None,
        limits: MediaLimits | None = None,
    ) -> None:
        self.sessions = sessions or Sessions()
        self.limits = limits or MediaLimits()
        self._weights = WeightsStore(store, mirror=mirror)
        self.overlay = Overlay(store / OVERLAY_FILE)
        self._folders: dict[str, Path] = {}
        self._shipped: dict[str, Manifest] = {}
        for folder in folders:
            self._declare(folder)
        self._engines: dict[str, Engine] = {}

    def manifests(self) -> Mapping[str, Manifest]:
        """Every engine as declared, with the operator's weights; no engine code is loaded."""
        return {name: self.manifest(name) for name in self._shipped}

    def manifest(self, name: str) -> Manifest:
        """One engine as declared; raises ``InvalidInputError`` code ``unknown_engine``."""
        shipped = self._declared(name)
        return replace(shipped, models=merge(shipped.models, self.overlay.read().registered))

    def engines(self) -> Mapping[str, Engine]:
        """Every engine, created at the first call and kept."""
        return {name: self.engine(name) for name in self._shipped}

    def engine(self, name: str) -> Engine:
        """One engine; raises ``InvalidInputError`` code ``unknown_engine``."""
        self._declared(name)
        if name not in self._engines:
            module = import_engine(self._folders[name])
            services = Services(registry=self, sessions=self.sessions, limits=self.limits)
            self._engines[name] = module.create(services)
        return self._engines[name]

    def _declared(self, name: str) -> Manifest:
        """What the engine's folder says, without the operator's weights."""
        if name not in self._shipped:
            message = f"there is no engine {name!r}; there are {', '.join(sorted(self._shipped))}"
            raise InvalidInputError(message, code="unknown_engine")
        return self._shipped[name]

    def resolve(self, engine: str, model: str | None) -> ModelVersion:
        """Which model version a request means.

        Args:
            engine: name of the engine.
            model: ``name``, ``name@version`` or an alias; None: the first that can run here.

        Raises:
            InvalidInputError: code ``unknown_engine`` or ``unknown_model``.
        """
        return choose(
            self.manifest(engine),
            model,
            active=self._active(engine),
            can_run=self.available,
        )

    @property
    def store_folder(self) -> Path:
        """Where weights and the operator's decisions live."""
        return self._weights.folder

    def newest(self, engine: str, name: str) -> ModelVersion:
        """The newest version of a name; what it means while nobody decided."""
        return current(self.manifest(engine), name, active={})

    def is_active(self, engine: str, model: ModelVersion) -> bool:
        """Whether the plain name of the model means this version."""
        return current(self.manifest(engine), model.name, active=self._active(engine)) == model

    def _active(self, engine: str) -> dict[str, str]:
        chosen = self.overlay.read().active_in(engine)
        return {name: each.version for name, each in chosen.items()}

    def available(self, model: ModelVersion) -> bool:
        """Whether it can run here: nothing to bring, and every file present in its size."""
        if model.needs_weights and not model.weights:
            return False
        return all(self._weights.find(file) for file in model.weights)

    def require(self, model: ModelVersion) -> None:
        """Raise ``WeightsError`` code ``weights_missing`` with the way out unless it can run."""
        if not self.available(model):
            missing = [file for file in model.weights if self._weights.find(file) is None]
            raise missing_weights(model, missing[0] if missing else None)

    def weights_path(self, model: ModelVersion, file: str | None = None) -> Path:
        """A verified weights file of a model.

        Args:
            model: as resolved.
            file: its name when the model has several; None: the only or first one.

        Raises:
            WeightsError: code ``weights_missing`` or ``weights_corrupt``.
        """
        wanted = self.weights_file(model, file)
        path = self._weights.verified(wanted)
        if path is None:
            raise missing_weights(model, wanted)
        return path

    def extra_path(self, model: ModelVersion, file: str) -> Path | None:
        """A verified extra of a model; None when it is not on this machine.

        Raises:
            WeightsError: code ``weights_corrupt``: present, but not what was registered.
        """
        found = [each for each in model.extras if each.file == file]
        if not found:
            message = f"{model.id} declares no extra {file}; ask its manifest"
            raise EngineFaultError(message)
        return self._weights.verified(found[0])

    def weights_file(self, model: ModelVersion, file: str | None = None) -> WeightsFile:
        """The declaration of a weights file; raises ``WeightsError`` when there is none."""
        found = [each for each in model.weights if file is None or each.file == file]
        if not found:
            raise missing_weights(model, None)
        return found[0]

    def pull(self, name: str, progress: Progress | None = None) -> list[Path]:
        """Fetch every file of a model (``name`` or ``name@version``) into the store.

        Extras come too, but for those that nobody offers for download: the operator brings them.
        Engines may each have a model of that name (``builtin``): the files of all are fetched.

        Raises:
            InvalidInputError: code ``unknown_model``.
            WeightsError: a file cannot be fetched or is not what was registered.
        """
        files: dict[WeightsFile, None] = {}  # each once, in order
        for model in self._everywhere(name):
            if model.needs_weights:
                raise missing_weights(model, None)
            offered = [file for file in model.extras if self._weights.is_offered(file)]
            files |= dict.fromkeys((*model.weights, *offered))
        return [self._weights.fetch(file, progress) for file in files]

    def verify(self) -> list[Verdict]:
        """Hash every file that is here and say what is missing or wrong."""
        return verify_files(self.manifests().values(), self._weights)

    def add(
        self,
        name: str,
        path: Path,
        *,
        licence: str,
        sha256: str | None = None,
        activate: bool = True,
    ) -> ModelVersion:
        """Register an operator's ONNX file for a declared model and copy it into the store.

        Fills a model that waits for weights, else becomes its next version, which the plain name
        then means; with ``activate=False`` the name goes on to mean what it meant.

        Raises:
            InvalidInputError: unknown or built-in model, no such file, other bytes than ``sha256``.
            EngineFaultError: code ``weights_unreadable``, when the file is not a network.
        """
        model = self._everywhere(name)[0]
        if model.runner != "onnxruntime":
            message = f"{model.id} is built in and runs on no weights; choose another model"
            raise InvalidInputError(message, code="weights_unused")
        if not path.is_file():
            message = f"there is no file {path}"
            raise InvalidInputError(message, code="file_missing")
        actual = self._weights.sha256(path)
        if sha256 is not None and sha256.lower() != actual:
            message = f"{path.name} has the sha256 {actual}, not {sha256}; nothing was registered"
            raise InvalidInputError(message, code="weights_corrupt")
        with open_onnx(path, threads=1) as runner:
            inputs = {
                spec.name: [-1 if length is None else length for length in spec.shape]
                for spec in runner.inputs
            }
        siblings = [each for each in self._all() if each.name == model.name]
        version = next_version(siblings)
        stored = self._weights.adopt(path, name=f"{model.name}-{version}-{actual[:12]}.onnx")
        weights = WeightsFile(
            file=stored.name,
            sha256=actual,
            bytes=stored.stat().st_size,
            licence=licence,
            source="operator",
        )
        entry = Registered(model=model.name, version=version, weights=weights, inputs=inputs)
        keep = None if activate or model.needs_weights else (self._owner(model), model.version)
        self.overlay.append(entry, keep=keep)
        return self._everywhere(f"{model.name}@{version}")[0]

    def adopt(self, path: Path, model: ModelVersion) -> None:
        """Copy the one weights file of a model that nobody declared into the store."""
        self._weights.adopt(path, name=model.weights[0].file)

    def _declare(self, folder: Path) -> None:
        manifest = load_manifest(folder / MANIFEST_FILE)
        if manifest.name in self._shipped:
            message = f"{folder}: the engine {manifest.name} is declared twice"
            raise ManifestError(message)
        known = [model for other in self._shipped.values() for model in other.models]
        if taken := _shared_networks(known, manifest.models):
            message = f"{folder}: another engine has a model {taken[0]} already; choose a new name"
            raise ManifestError(message)
        self._shipped[manifest.name] = manifest
        self._folders[manifest.name] = folder

    def _owner(self, model: ModelVersion) -> str:
        """The engine whose model it is; a network's name is one engine's alone."""
        return next(name for name, each in self.manifests().items() if model in each.models)

    def _all(self) -> list[ModelVersion]:
        return [model for manifest in self.manifests().values() for model in manifest.models]

    def _everywhere(self, name: str) -> list[ModelVersion]:
        """What a name means in each engine that has it; never empty."""
        found = []
        for engine in self._shipped:
            with suppress(InvalidInputError):
                found.append(self.resolve(engine, name))
        if found:
            return found
        names = ", ".join(dict.fromkeys(model.name for model in self._all()))
        message = f"no engine has a model {name!r}; there are {names}"
        raise InvalidInputError(message, code="unknown_model")


def _shared_networks(known: Iterable[ModelVersion], added: Iterable[ModelVersion]) -> list[str]:
    """Names that two engines want: an operator's file is registered for a model's name alone."""
    mine, theirs = tuple(added), tuple(known)
    shared = {each.name for each in mine} & {each.name for each in theirs}
    return sorted(shared & {each.name for each in (*mine, *theirs) if each.runner != "opencv"})


def open_registry(
    *,
    store: Path,
    mirror: str | None = None,
    sessions: Sessions | None = None,
    limits: MediaLimits | None = None,
    outside: Sequence[Path] = (),
) -> Registry:
    """The registry of the shipped engines and of those at the places ``outside``."""
    folders = (*shipped_folders(), *outside_folders(outside))
    return Registry(folders, store=store, mirror=mirror, sessions=sessions, limits=limits)
