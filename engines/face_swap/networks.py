"""The networks of one run: files to metered runners, for the whole device or for one lane."""

from dataclasses import dataclass, replace

from engines.errors import EngineFaultError
from engines.face_swap.timing import LaneClock, MeteredRunner, TimedDetector
from engines.faces.choice import Search, open_detector
from engines.faces.detectors.haar import HaarFaces
from engines.faces.face import FaceDetector
from engines.loading import extra_source, weights_source
from engines.manifest import ModelVersion, WeightsFile
from engines.opening import NetworkSource
from engines.registry import Services
from engines.runners.base import Runner
from engines.weights import WeightsError


@dataclass(frozen=True, slots=True)
class Networks:
    """Opens what a model declares.

    Args:
        services: of the process.
        model: whose files.
        clock: gets the compute time of every run, and what loading cost.
        lane: which of several that work side by side; None: alone with all threads.
    """

    services: Services
    model: ModelVersion
    clock: LaneClock
    lane: int | None = None

    def of(self, model: ModelVersion) -> "Networks":
        """The networks of another model, for the same run and lane."""
        return replace(self, model=model)

    def detector(self, search: Search) -> FaceDetector:
        """What finds faces; see ``open_detector``."""

        def find(name: str) -> Runner | None:
            return self.find(declared(self.model, name), "detect")

        def need(name: str) -> Runner:
            return self.need(declared(self.model, name), "detect", what="looking for faces so")

        return open_detector(search, find=find, need=need, haar=self._haar)

    def _haar(self) -> FaceDetector:
        key = ("faces", HaarFaces.name, self.lane)  # cascades are no thread's but their lane's
        return TimedDetector(self.services.sessions.load(key, HaarFaces).value, self.clock)

    def find(self, file: WeightsFile, stage: str) -> Runner | None:
        """The network of a file; None where it is not on this machine."""
        source = self._source(file)
        return None if source is None else self._opened(source, stage)

    def need(self, file: WeightsFile, stage: str, *, what: str) -> Runner:
        """The network of a file without which something cannot be done.

        Raises:
            WeightsError: code ``weights_missing``, with the file, its licence and the command.
        """
        runner = self.find(file, stage)
        if runner is None:
            raise missing(self.model, file, what=what)
        return runner

    def _source(self, file: WeightsFile) -> NetworkSource | None:
        registry = self.services.registry
        if file in self.model.weights:
            return weights_source(registry, self.model, file.file)
        return extra_source(registry, self.model, file.file)

    def _opened(self, source: NetworkSource, stage: str) -> Runner:
        sessions = self.services.sessions
        if self.lane is None:
            loaded = sessions.runner(source)
            self.clock.clock.add_cold_start(loaded.cold_start_ms)
            return MeteredRunner(loaded.value, stage, self.clock)
        lanes = sessions.lanes(source)
        self.clock.clock.add_cold_start(lanes.cold_start_ms)
        # where the device takes one call at a time, nobody's time is shared
        clock = replace(self.clock, lanes=len(lanes.value))
        return MeteredRunner(lanes.value[self.lane % len(lanes.value)], stage, clock)


def missing(model: ModelVersion, file: WeightsFile, *, what: str) -> WeightsError:
    """Say what cannot be done, which file it needs, whose licence that has and how to get it."""
    message = (
        f"{what} needs {file.file} ({file.licence}, by {file.source}), which is not on this "
        f"machine. Fetch it with `pixelmeter models pull {model.name}`"
    )
    return WeightsError(message)


def declared(model: ModelVersion, name: str) -> WeightsFile:
    """A file among the weights and extras of a model, as its manifest declares it."""
    for file in (*model.weights, *model.extras):
        if file.file == name:
            return file
    raise EngineFaultError(f"{model.id} declares no {name}", code="manifest_invalid")
