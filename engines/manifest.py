"""What an engine folder declares in ``engine.toml``; see ``engines/README.md`` for the format."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.errors import EngineFaultError
from engines.profiles import Profile
from engines.source_type import SourceType

MANIFEST_FILE = "engine.toml"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SOURCES = ("none", "one", "many")
_MEDIA = ("image", "video")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of weights and where it comes from."""

    file: str  # name inside the mirror folder
    sha256: str
    bytes: int
    licence: str
    source: str  # who published it
    url: str | None = None  # None: the operator brings it


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The named, versioned, priced thing a caller asks for."""

    name: str  # yolov8n
    version: str  # 1
    runner: str  # onnxruntime | opencv
    weights: tuple[WeightsFile, ...] = ()  # empty: built in, or brought by the operator
    needs_weights: bool = False
    extras: tuple[WeightsFile, ...] = ()  # used when present; the model runs without them
    options: dict[str, object] = field(default_factory=dict)  # contract facts for the engine
    profiles: tuple[Profile, ...] = ()  # shapes that TensorRT plans are made for
    halved_from: str | None = None  # an fp16 variant: sha256 of the weights it was made of
    base: str | None = None  # a tenant's own weights: the model whose contract they have

    @property
    def id(self) -> str:
        """``name@version``, as it appears in jobs and results."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """An engine as it describes itself."""

    name: str  # detect
    title: str
    description: str
    media: tuple[str, ...]  # kinds of target it accepts: image, video
    sources: str  # none | one | many
    models: tuple[ModelVersion, ...]  # in order of preference
    aliases: dict[str, str] = field(default_factory=dict)
    large_pictures: bool = False  # it streams: pictures up to ``MediaLimits.max_scan_pixels``
    source_type: SourceType = SourceType.EDITED  # what its results are marked as


class ManifestError(EngineFaultError):
    """Raised when an ``engine.toml`` is wrong; the message names the file and the key."""

    code = "manifest_invalid"
    retryable = False


def shipped_folders() -> tuple[Path, ...]:
    """The engine folders of this package: those with an ``engine.toml``, by name."""
    return tuple(sorted(path.parent for path in Path(__file__).parent.glob(f"*/{MANIFEST_FILE}")))


def load_manifest(path: Path) -> Manifest:
    """Read and check one ``engine.toml``; raises ``ManifestError``."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"{path}: cannot be read as TOML: {error}"
        raise ManifestError(message) from error
    try:
        manifest = _manifest(table)
    except ManifestError as error:
        message = f"{path}: {error.detail}"
        raise ManifestError(message) from None
    return manifest


def weights_file(table: Mapping[str, Any]) -> WeightsFile:
    """One ``[[models.weights]]`` table; raises ``ManifestError``."""
    known = {"file", "sha256", "bytes", "licence", "source", "url"}
    _refuse_unknown(table, known, "weights")
    file = WeightsFile(
        file=_text(table, "file"),
        sha256=_text(table, "sha256"),
        bytes=_whole(table, "bytes"),
        licence=_text(table, "licence"),
        source=_text(table, "source"),
        url=table.get("url"),
    )
    # The name becomes part of a path and of a URL: nothing but a plain name is let through.
    if not _FILE.fullmatch(file.file):
        message = f"weights file {file.file!r} must be a plain name such as yolov8n.onnx"
        raise ManifestError(message)
    if not _SHA256.fullmatch(file.sha256):
        message = f"weights file {file.file}: sha256 must be 64 lower-case hex digits"
        raise ManifestError(message)
    return file


def _manifest(table: Mapping[str, Any]) -> Manifest:
    known = {"name", "title", "description", "media", "sources", "models", "aliases"}
    known |= {"large_pictures", "profiles", "extras", "digital_source_type"}
    _refuse_unknown(table, known, "the engine")
    shared = _Shared(
        profiles=tuple(_profile(profile) for profile in table.get("profiles", ())),
        extras=tuple(weights_file(file) for file in table.get("extras", ())),
    )
    manifest = Manifest(
        name=_named(_text(table, "name"), "name"),
        title=_text(table, "title"),
        description=_text(table, "description"),
        media=tuple(table.get("media", ())),
        sources=_text(table, "sources"),
        models=tuple(_model(model, shared) for model in table.get("models", ())),
        aliases=dict(table.get("aliases", {})),
        large_pictures=table.get("large_pictures", False) is True,
        source_type=_source_type(table.get("digital_source_type", SourceType.EDITED)),
    )
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    ids = [model.id for model in manifest.models]
    if not ids:
        raise ManifestError("there must be at least one [[models]]")
    if len(set(ids)) != len(ids):
        message = f"a model is declared twice among {', '.join(ids)}"
        raise ManifestError(message)
    if not manifest.media or not set(manifest.media) <= set(_MEDIA):
        message = f"media must name some of {', '.join(_MEDIA)}, got {list(manifest.media)}"
        raise ManifestError(message)
    if manifest.sources not in _SOURCES:
        message = f"sources must be one of {', '.join(_SOURCES)}, got {manifest.sources!r}"
        raise ManifestError(message)
    names = {model.name for model in manifest.models}
    for alias, name in manifest.aliases.items():
        if alias in names or name not in names:
            message = f"alias {alias!r} must be a new name that points at a declared model"
            raise ManifestError(message)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What an engine declares once for all of its models."""

    profiles: tuple[Profile, ...]
    extras: tuple[WeightsFile, ...]


def _model(table: Mapping[str, Any], shared: _Shared) -> ModelVersion:
    known = {"name", "version", "runner", "weights", "needs_weights", "extras", "options"}
    _refuse_unknown(table, known | {"profiles"}, "a model")
    own = tuple(_profile(profile) for profile in table.get("profiles", ()))
    version = _text(table, "version")
    if not version.isdecimal():
        message = f"version must be a whole number in quotes, got {version!r}"
        raise ManifestError(message)
    return ModelVersion(
        name=_named(_text(table, "name"), "model name"),
        version=version,
        runner=_text(table, "runner"),
        weights=tuple(weights_file(file) for file in table.get("weights", ())),
        needs_weights=table.get("needs_weights", False) is True,
        extras=(*(weights_file(file) for file in table.get("extras", ())), *shared.extras),
        options=dict(table.get("options", {})),
        profiles=(*own, *shared.profiles),  # what a model says of an input goes before the engine
    )


def _profile(table: Mapping[str, Any]) -> Profile:
    _refuse_unknown(table, {"input", "min", "opt", "max", "file", "values"}, "a profile")
    values = table.get("values", [0, 1])
    try:
        least, most = float(values[0]), float(values[1])
        return Profile(
            input=_text(table, "input"),
            file=table.get("file"),
            values=(least, most),
            **{
                size: tuple(int(length) for length in table[size]) for size in ("min", "opt", "max")
            },
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        message = f"a profile must name an input and its min, opt and max shapes: {error}"
        raise ManifestError(message) from error


def _source_type(term: object) -> SourceType:
    if term not in list(SourceType):
        message = f"digital_source_type must be one of {', '.join(SourceType)}, got {term!r}"
        raise ManifestError(message)
    return SourceType(str(term))


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        message = f"{key} must be a text, got {value!r}"
        raise ManifestError(message)
    return value


def _whole(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key)
    if type(value) is not int or value <= 0:
        message = f"{key} must be a whole number above 0, got {value!r}"
        raise ManifestError(message)
    return value


def _named(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        message = f"{what} {name!r} may hold lower-case letters, digits, dots and dashes only"
        raise ManifestError(message)
    return name


def _refuse_unknown(table: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        message = f"{what} has no key {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        raise ManifestError(message)
