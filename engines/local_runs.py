"""Run an engine on files of this machine, results into a folder."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from engines.errors import EngineError, EngineFaultError, InvalidInputError
from engines.manifest import ModelVersion
from engines.many import run_items
from engines.media.glance import glance
from engines.media.provenance import Provenance, mark_file
from engines.registry import Registry
from engines.spec import (
    EmbeddingCache,
    EngineResult,
    FaceBlocklist,
    InputFiles,
    InputMedia,
    Outcome,
    RunItem,
)
from engines.unkept import NoBlockedFaces, NoEmbeddings

Watch = Callable[[int, int, str], None]  # done, total, unit


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one target."""

    target: Path
    files: tuple[Path, ...]  # in the folder of results
    result: EngineResult | None
    error: EngineError | None

    def as_json(self) -> dict[str, Any]:
        """For a line of output, and for the file beside the results."""
        told: dict[str, Any] = {"target": str(self.target), "files": [str(p) for p in self.files]}
        if self.error is not None:
            return {**told, "error": {"code": self.error.code, "detail": self.error.detail}}
        if self.result is None:
            return told
        usage = self.result.usage
        return {
            **told,
            "data": dict(self.result.data),
            "usage": {
                "model": usage.model,
                "device": usage.device,
                "runner": usage.runner,
                "provider": usage.provider,
                "precision": usage.precision,
                "work": dict(usage.work.quantities),
                "stages_ms": {name: round(ms, 3) for name, ms in usage.stages_ms.items()},
                "gpu_ms": round(usage.gpu_ms, 3),
                "cold_start_ms": round(usage.cold_start_ms, 3),
            },
        }


@dataclass(frozen=True, slots=True)
class LocalContext:
    """Implements ``RunContext``: a folder, and somebody who may watch."""

    work_dir: Path
    watch: Watch
    embeddings: EmbeddingCache = field(default_factory=NoEmbeddings)
    blocked_faces: FaceBlocklist = field(default_factory=NoBlockedFaces)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Tell whoever watches."""
        self.watch(done, total, unit)

    def checkpoint(self) -> None:
        """Nobody cancels here: an interrupt ends the process."""


class LocalRuns:
    """One engine, model and set of parameters, for any number of targets.

    Raises:
        InvalidInputError: unknown engine or model.
        ValidationError: of pydantic, for parameters the engine does not take.
        WeightsError: the model's weights are not on this machine.
    """

    def __init__(
        self,
        registry: Registry,
        engine: str,
        *,
        model: str | None = None,
        params: dict[str, Any] | None = None,
        sources: Sequence[Path] = (),
        out: Path,
    ) -> None:
        self._registry = registry
        self._engine = registry.engine(engine)
        self._model: ModelVersion = registry.resolve(engine, model)
        registry.require(self._model)
        self._params: BaseModel = self._engine.params_model.model_validate(params or {})
        self._sources = tuple(sources)
        self._out = out
        self._started = perf_counter()

    def run(self, targets: Iterable[Path], *, watch: Watch = lambda *_: None) -> Iterator[Ran]:
        """One answer for each target, in order; those that go together run together."""
        self._started = perf_counter()
        self._out.mkdir(parents=True, exist_ok=True)
        taken: set[str] = set()
        with tempfile.TemporaryDirectory(prefix=".running-", dir=self._out) as folder:
            begun: list[tuple[Path, RunItem]] = []
            refused: dict[int, tuple[Path, EngineError]] = {}

            def items() -> Iterator[RunItem]:
                for number, target in enumerate(targets):
                    try:
                        item = self._item(target, Path(folder) / str(number), watch)
                    except EngineError as error:
                        refused[len(begun) + len(refused)] = (target, error)
                        continue
                    begun.append((target, item))
                    yield item

            told = 0
            for done, outcome in enumerate(run_items(self._engine, items())):
                while told in refused:
                    yield self._refused(*refused[told])
                    told += 1
                target, item = begun[done]
                yield self._keep(target, item, outcome, taken)
                told += 1
            while told in refused:
                yield self._refused(*refused[told])
                told += 1

    def summary(self, ran: Sequence[Ran]) -> str:
        """One sentence about all of them."""
        failed = sum(each.error is not None for each in ran)
        elapsed_s = max(perf_counter() - self._started, 1e-9)
        compute_ms = sum(each.result.usage.gpu_ms for each in ran if each.result is not None)
        return (
            f"{len(ran) - failed} of {len(ran)} done with {self._model.id} in {elapsed_s:.1f} s "
            f"({len(ran) / elapsed_s:.1f} per second), {compute_ms:.0f} ms of compute; results in "
            f"{self._out}"
        )

    def _item(self, target: Path, work_dir: Path, watch: Watch) -> RunItem:
        limits = self._registry.limits
        info = glance(target, limits)
        media = InputMedia(info, tuple(glance(source, limits) for source in self._sources))
        self._engine.plan(self._model, self._params, media)  # says early what cannot be
        work_dir.mkdir()
        files = InputFiles(target=target, target_info=info, sources=self._sources)
        return RunItem(self._model, self._params, files, LocalContext(work_dir, watch))

    def _keep(self, target: Path, item: RunItem, outcome: Outcome, taken: set[str]) -> Ran:
        """Move the files of a run under the name of its target, its answer beside them."""
        if isinstance(outcome, Exception):
            shutil.rmtree(item.context.work_dir, ignore_errors=True)
            error = outcome if isinstance(outcome, EngineError) else EngineFaultError(repr(outcome))
            return Ran(target, (), None, error)
        stem = _free_name(target, taken)
        files = []
        origin = Provenance(self._engine.manifest.source_type, produce_id=f"run_{uuid4().hex}")
        for file in outcome.files:
            if file.is_media and file.is_made:
                mark_file(file.path, origin)
            path = self._out / f"{stem}-{file.path.name}"
            file.path.replace(path)
            files.append(path)
        shutil.rmtree(item.context.work_dir, ignore_errors=True)
        ran = Ran(target, tuple(files), outcome, None)
        told = json.dumps(ran.as_json(), indent=1)
        (self._out / f"{stem}.json").write_text(f"{told}\n", encoding="utf-8")
        return ran

    def _refused(self, target: Path, error: EngineError) -> Ran:
        return Ran(target, (), None, error)


def _free_name(target: Path, taken: set[str]) -> str:
    """The target's name without its ending, with it, or with a number: each used once."""
    for name in (target.stem, target.name, *(f"{target.name}-{n}" for n in range(2, 100_000))):
        if name not in taken:
            taken.add(name)
            return name
    message = f"there are too many targets called {target.name}"
    raise InvalidInputError(message)
