"""The seam between the platform and an engine: plain values in, plain values out.

An engine describes itself in ``engine.toml``, validates parameters with a pydantic model, says
before the run what the work can be at most (``plan``) and after it what it was (``usage``).
It never sees a tenant, a price, a queue or a database.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from engines.errors import CanceledError
from engines.manifest import Manifest, ModelVersion
from engines.runners.base import Runner


class MediaKind(StrEnum):
    """What a file is, by its content."""

    IMAGE = "image"  # one picture
    VIDEO = "video"  # a timeline with one chosen video stream


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What probing found. Sizes are pixels after rotation was applied."""

    kind: MediaKind
    media_type: str  # IANA type by content, e.g. image/png
    bytes: int
    width: int
    height: int
    duration_s: float | None = None  # video only
    frames: int | None = None  # of a video exact, by demuxing; of a picture if it has several
    fps: float | None = None  # video only: mean rate
    has_audio: bool = False


@dataclass(frozen=True, slots=True)
class InputMedia:
    """The inputs as facts, known before any pixel is decoded."""

    target: MediaInfo
    sources: tuple[MediaInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A slice of one video's timeline: the frames with ``start_pts <= pts < end_pts``.

    Segments of one plan follow each other without gap or overlap and begin at key frames.
    """

    number: int  # from 0
    of: int  # segments of this plan
    first_frame: int  # position of its first frame in the whole video
    frames: int  # at least 1
    start_pts: int  # ticks of the index's time base
    end_pts: int | None  # the start of the next one; None: the last goes to the end


STEM_LENGTH_MAX = 200  # characters; room for what an engine adds to a name


@dataclass(frozen=True, slots=True)
class InputFiles:
    """The inputs as local files, already checked by probing."""

    target: Path
    target_info: MediaInfo
    sources: tuple[Path, ...] = ()
    segment: Segment | None = None  # set: only this part of the video; see ``SegmentedEngine``
    label: str | None = None  # what its sender called the target; None: as its file is called

    @property
    def stem(self) -> str:
        """What results are named after: the target's name without its ending."""
        return Path(self.label or self.target.name).stem[:STEM_LENGTH_MAX]


@dataclass(frozen=True, slots=True)
class Work:
    """Priceable facts: quantities are numbers that add up, attributes choose prices.

    Quantities: images, faces, extra_faces, cached_embeddings, frames, seconds, megapixels,
    input_pixels (network input H*W), upscaled, gpu_ms, gpu_ms.<stage>, bytes_in, bytes_out.
    Attributes: media ("image"|"video"), model (name without version), enhance_level, type,
    width, height.
    """

    quantities: Mapping[str, float]
    attributes: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Physical facts of one run, measured by the engine itself."""

    work: Work
    model: str  # name@version that really ran
    device: str  # e.g. cpu:AMD EPYC or cuda:0 NVIDIA L4
    runner: str  # onnxruntime | openvino | tensorrt | tensorrt-rtx | opencv
    provider: str  # e.g. CPUExecutionProvider
    precision: str  # fp32 | fp16 | bf16 | none
    stages_ms: Mapping[str, float]  # compute time per stage: GPU events, or run-call time on a CPU
    wall_ms: float  # whole run, waiting excluded only where a stage says so
    cold_start_ms: float  # loading of models inside this run; 0 when warm
    peak_memory_bytes: int
    device_factor: float = 1.0
    plan: str | None = None  # the TensorRT plan that ran

    @property
    def gpu_ms(self) -> float:
        """Measured compute time: the sum over stages."""
        return sum(self.stages_ms.values())


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A produced file inside ``RunContext.work_dir``; the platform moves it into storage."""

    path: Path
    media_type: str
    name: str  # what the customer sees, e.g. street-colorized.png
    is_made: bool = True  # False: what the customer sent, shown again; no machine made it

    @property
    def is_media(self) -> bool:
        """Whether it is a picture or video: probed, and marked with its origin."""
        return self.media_type.startswith(("image/", "video/"))


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What a run gives back."""

    files: tuple[OutputFile, ...]
    data: Mapping[str, Any]  # JSON-ready; becomes output.data of the job
    usage: UsageReport


class CanceledRunError(CanceledError):
    """Raised by an engine that stopped at a checkpoint: carries the work measured until then.

    A plain ``CanceledError`` says that nothing chargeable was done.
    """

    def __init__(self, detail: str, *, usage: UsageReport) -> None:
        super().__init__(detail)
        self.usage = usage


class EmbeddingCache(Protocol):
    """Embeddings of source faces, kept for a while for whoever sent them.

    ``model`` says what made a vector, down to whatever changes its numbers: the embedder's
    name@version, and which face of the picture it is of if that is not the largest. A vector found
    here counts in ``Work`` as one of ``cached_embeddings``.
    """

    def get(self, model: str, sha256: str) -> NDArray[np.float32] | None:
        """The vector [D] that was put for this content; None: embed the face anew."""

    def put(self, model: str, sha256: str, vector: NDArray[np.float32]) -> None:
        """Keep a vector [D] for the content with this hexadecimal SHA-256."""


class FaceBlocklist(Protocol):
    """Faces that nobody may use as a source, known by their embeddings."""

    def check(self, model: str, vector: NDArray[np.float32]) -> None:
        """Refuse a source face that is too like a blocked one.

        Args:
            model: the embedder's name@version; vectors of different embedders are not comparable.
            vector: [D], of any length.

        Raises:
            InvalidInputError: code ``face_blocked``.
        """

    def check_unseen(self) -> None:
        """Refuse a source face that nothing here can compare, as long as any face is blocked.

        Raises:
            ExhaustedError: code ``blocklist_unavailable``.
        """


class RunContext(Protocol):
    """What the platform offers an engine during a run."""

    @property
    def work_dir(self) -> Path:
        """An empty folder of this attempt alone; the platform deletes it."""

    @property
    def embeddings(self) -> EmbeddingCache:
        """What the tenant's source faces were embedded as; empty outside the platform."""

    @property
    def blocked_faces(self) -> FaceBlocklist:
        """Asked about every source face before it is used, cached or not."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Tell how far the run is; cheap, call it for every batch of frames."""

    def checkpoint(self) -> None:
        """Raise ``CanceledError`` if the run must stop; call it for every batch of frames."""


class Engine(Protocol):
    """One family of models behind one name. Instances live as long as the worker process."""

    manifest: Manifest
    params_model: type[BaseModel]

    def plan(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> Work:
        """Say the most this job can be, without touching pixels; raises ``InvalidInputError``."""

    def run(
        self, model: ModelVersion, params: BaseModel, files: InputFiles, context: RunContext
    ) -> EngineResult:
        """Do the work; may raise any ``EngineError``. ``params`` is a ``params_model``."""


@dataclass(frozen=True, slots=True)
class RunItem:
    """One of many runs: what ``Engine.run`` would be given for it."""

    model: ModelVersion
    params: BaseModel
    files: InputFiles
    context: RunContext  # of this item alone; called from any one thread at a time

    @property
    def media(self) -> InputMedia:
        """The facts of the target; sources count for no key."""
        return InputMedia(self.files.target_info)


# What became of an item: its result, or what ``Engine.run`` would have raised for it.
Outcome = EngineResult | Exception


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """An engine that runs several items faster together than one after another.

    The capability is optional; ``engines.many.run_items`` works with every engine.
    """

    def batch_key(
        self, model: ModelVersion, params: BaseModel, media: InputMedia
    ) -> Hashable | None:
        """Say what an item can run with: others of an equal key. None: it runs alone.

        Touches neither pixels nor weights, so it may be asked about jobs that only wait.
        """

    def run_many(self, items: Iterable[RunItem]) -> Iterator[Outcome]:
        """Run items of one key; one outcome for each, in their order.

        Items are taken a few ahead of the outcomes, so there may be any number of them. An item
        that fails or is canceled fails alone. Each result has a usage report of its own: time of
        a network run that served several items is shared by them and adds up to what was
        measured. Closing the iterator stops what has not begun.
        """


@runtime_checkable
class SegmentedEngine(Engine, Protocol):
    """An engine that can do a video in parts, each anywhere; optional as ``BatchEngine``.

    ``run`` with ``InputFiles.segment`` does that part: where the engine gives a video back, the
    first of its files is a video-only part, verified frame by frame; files of the engine's own
    (tables, say) may follow. Its usage counts the frames of the part alone, lead-in excluded.
    """

    def overlap(self, model: ModelVersion, params: BaseModel, media: InputMedia) -> int | None:
        """Frames that each part looks at before its own; None: this run cannot be split."""

    def joined(
        self,
        model: ModelVersion,
        params: BaseModel,
        files: InputFiles,
        parts: Sequence[EngineResult],
        context: RunContext,
    ) -> EngineResult:
        """Make of the results of all parts, in order, what one run over the whole gives.

        ``files`` is the whole video, with ``segment`` not set; ``parts`` are as ``run`` gave them,
        their files on this machine and not changed, their data as JSON gives it back. The
        usage is the sum of the parts' with what joining took beside compute. Raises as
        ``engines.media.segments.join_segments``.
        """


@runtime_checkable
class ModelChooser(Engine, Protocol):
    """An engine some of whose parameters say which model suits; optional as ``BatchEngine``."""

    def preferred_model(self, params: BaseModel) -> str | None:
        """The model for a job that names none; None: the first that can run here."""


@runtime_checkable
class WeightsJudge(Engine, Protocol):
    """An engine whose contract strangers' weights may be written for."""

    def judge_weights(self, model: ModelVersion, runner: Runner) -> None:
        """Say whether a loaded network fits the contract, before it is run.

        Raises:
            EngineError: it does not; the code says what is wrong.
        """
