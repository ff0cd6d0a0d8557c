"""What an engine folder declares in ``engine.toml``; see ``engines/README.md`` for the format."""

from dataclasses import dataclass, field


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
    options: dict[str, object] = field(default_factory=dict)  # contract facts for the engine

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
