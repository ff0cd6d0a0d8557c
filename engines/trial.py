"""Trying a stranger's weights: inspected, loaded and run once on a picture, all in the child.

What passes is a model version with the contract and the price of its base.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engines.errors import EngineError
from engines.foreign.opening import FOREIGN_FOLDER
from engines.foreign.refusal import ForeignWeightsError
from engines.foreign.runner import SandboxedRunner
from engines.foreign.signature import check_signature
from engines.manifest import ModelVersion, WeightsFile, shipped_folders
from engines.registry import Registry
from engines.runners.base import Runner
from engines.sessions import Sessions
from engines.spec import InputFiles, MediaInfo, MediaKind, WeightsJudge
from engines.unkept import NoBlockedFaces, NoEmbeddings

TRIAL_CPU_S = 30
TRIAL_RUN_S = 30.0
_SIDE_PX = 320


@dataclass(frozen=True, slots=True)
class Tried:
    """What the trial found in the file."""

    inputs: dict[str, list[int]]  # by input name; -1: any length
    holds: tuple[str, ...]  # what confined the trial here; see ``jail``


def foreign_model(
    base: ModelVersion,
    *,
    name: str,
    version: str,
    sha256: str,
    size: int,
    licence: str,
    inputs: Mapping[str, list[int]],
) -> ModelVersion:
    """A tenant's weights as a version of a model of their own, under the base's contract."""
    weights = WeightsFile(
        file=f"{FOREIGN_FOLDER}/{sha256}.onnx",
        sha256=sha256,
        bytes=size,
        licence=licence,
        source="tenant",
    )
    return replace(
        base,
        name=name,
        version=version,
        weights=(weights,),
        needs_weights=False,
        extras=(),
        options={"priced_as": base.name, **base.options, "inputs": dict(inputs)},
        base=base.name,
    )


def try_weights(content: bytes, *, engine: str, base: ModelVersion, sha256: str) -> Tried:
    """Run the weights once under the contract of ``base``.

    Raises:
        EngineError: refused, with a code that says why; this process is unharmed.
    """
    check_signature(content)
    with (
        tempfile.TemporaryDirectory(prefix="pixelmeter-trial-") as name,
        SandboxedRunner(content, inspected=False, cpu_s=TRIAL_CPU_S, run_s=TRIAL_RUN_S) as runner,
    ):
        inputs = {
            spec.name: [-1 if length is None else length for length in spec.shape]
            for spec in runner.inputs
        }
        model = foreign_model(
            base,
            name="trial",
            version="1",
            sha256=sha256,
            size=len(content),
            licence="",
            inputs=inputs,
        )
        _run_once(content, engine, model, runner, Path(name))
        return Tried(inputs=inputs, holds=runner.holds)


def _run_once(
    content: bytes, engine: str, model: ModelVersion, runner: SandboxedRunner, folder: Path
) -> None:
    """As a worker runs it, but with this runner in place of any other."""

    def only_this_one(_: object, **__: object) -> Runner:
        return runner

    store = folder / FOREIGN_FOLDER
    store.mkdir()
    (store / Path(model.weights[0].file).name).write_bytes(content)
    registry = Registry(
        shipped_folders(), store=folder, sessions=Sessions(threads=1, open_runner=only_this_one)
    )
    found = registry.engine(engine)
    if not isinstance(found, WeightsJudge):
        detail = f"{engine} takes no weights of yours; detect does."
        raise ForeignWeightsError(detail, code="base_unsuitable")
    found.judge_weights(model, runner)
    picture = folder / "trial.png"
    info = _write_picture(picture)
    try:
        found.run(model, found.params_model(), InputFiles(picture, info), _Context(folder))
    except ForeignWeightsError:
        raise
    except EngineError as error:
        raise ForeignWeightsError(error.detail, code=error.code) from error


def _write_picture(path: Path) -> MediaInfo:
    """Noise on a ramp: no network is left at rest by it."""
    ramp = np.linspace(0, 200, _SIDE_PX)
    noise = np.random.default_rng(0).integers(0, 55, (_SIDE_PX, _SIDE_PX, 3))
    pixels = (np.add.outer(ramp, ramp)[..., None] / 2 + noise).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return MediaInfo(MediaKind.IMAGE, "image/png", path.stat().st_size, _SIDE_PX, _SIDE_PX)


class _Context:
    """A run that nobody watches."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self.embeddings = NoEmbeddings()
        self.blocked_faces = NoBlockedFaces()

    def progress(self, done: int, total: int, unit: str) -> None:
        """Nobody asks."""

    def checkpoint(self) -> None:
        """Nobody stops it."""


def facts_of(tried: Tried) -> dict[str, Any]:
    """As they are kept with the model."""
    return {"inputs": tried.inputs, "holds": list(tried.holds)}
