"""Open a network with the runner that this host and the operator's policy choose."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from engines.atomic import write_whole
from engines.choice import Candidate, Policy, RunnerName, RunnerUnavailableError, candidates, choose
from engines.errors import EngineError
from engines.foreign.opening import is_foreign, open_network
from engines.plans.build import check_target
from engines.plans.cache import PlanCache
from engines.plans.making import Wanted, make_plan, read_wanted
from engines.profiles import Profile
from engines.runners.base import Runner
from engines.runners.cuda import Device, open_cuda
from engines.runners.flavours import Flavour, FlavourName, RuntimeCache, load_flavour
from engines.runners.host import Host, this_host
from engines.runners.ort_cuda import OrtCudaRunner
from engines.runners.ov import OpenVinoRunner
from engines.runners.trt import TrtRunner

log = logging.getLogger(__name__)

FLAVOURS = {
    RunnerName.TENSORRT: FlavourName.TENSORRT,
    RunnerName.TENSORRT_RTX: FlavourName.TENSORRT_RTX,
}


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """A verified weights file and what plans of it are for."""

    path: Path
    sha256: str = ""  # empty: no plan can be made of it
    profiles: tuple[Profile, ...] = ()


class RunnerOpener:
    """Opens networks for one process; the GPU is opened at the first need and kept.

    Args:
        policy: what the operator decided.
        plans: where TensorRT plans are; None: TensorRT is not used.
        look: what finds the facts of the host.
        open_device: what opens the GPU; tests give a recording one.
        flavours: what loads a flavour of TensorRT.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        plans: PlanCache | None = None,
        look: Callable[[], Host] = this_host,
        open_device: Callable[[int], Device] = open_cuda,
        flavours: Callable[[FlavourName], Flavour] = load_flavour,
    ) -> None:
        self.policy = policy or Policy()
        self._plans = plans
        self._look = look
        self._open_device = open_device
        self._load_flavour = flavours
        self._flavours: dict[FlavourName, Flavour] = {}

    @cached_property
    def host(self) -> Host:
        """The facts of this host."""
        return self._look()

    @cached_property
    def device(self) -> Device:
        """The GPU of this process."""
        return self._open_device(self.policy.gpu)

    def __call__(self, source: NetworkSource, *, threads: int) -> Runner:
        """A runner for a network; a plan that is missing is built first.

        Raises:
            RunnerUnavailableError: the runner asked for cannot be used here.
            EngineFaultError: the file, or the plan made of it, cannot be used.
        """
        if is_foreign(source.path):  # whoever asks, a stranger's runs in its confined process
            return open_network(source.path, threads=threads)
        names = choose(self.consider(source), self.policy)
        for name in names[:-1]:
            try:
                return self._open(name, source, threads)
            except EngineError as error:
                log.warning("%s does not run %s: %s", name, source.path.name, error.detail)
        return self._open(names[-1], source, threads)

    def consider(self, source: NetworkSource) -> tuple[Candidate, ...]:
        """Every runner in order with what is in its way for this network."""
        found = candidates(self.host, self.policy, dict.fromkeys(FLAVOURS))
        if all(each.obstacle for each in found if each.name in FLAVOURS):
            return found
        usable = [each.name for each in found if each.obstacle is None and each.name in FLAVOURS]
        return candidates(
            self.host, self.policy, {name: self._plan_obstacle(name, source) for name in usable}
        )

    @cached_property
    def may_use_plans(self) -> bool:
        """Whether anything here runs plans; no file is looked at."""
        found = candidates(self.host, self.policy, dict.fromkeys(FLAVOURS))
        return self._plans is not None and any(
            each.obstacle is None for each in found if each.name in FLAVOURS
        )

    def must_build(self, source: NetworkSource) -> bool:
        """Whether opening would build a plan first, which can take minutes."""
        if not self.may_use_plans or is_foreign(source.path):
            return False
        try:
            name = choose(self.consider(source), self.policy)[0]
        except RunnerUnavailableError:
            return False  # the run will say so
        if name not in FLAVOURS or self._plans is None:
            return False
        wanted = self._wanted(source)
        key = wanted.key(self._flavour(FLAVOURS[name]), self._target)
        return self._plans.find(key) is None

    @property
    def _target(self) -> str:
        return self.host.gpus[self.policy.gpu].target

    def _plan_obstacle(self, name: RunnerName, source: NetworkSource) -> str | None:
        if self._plans is None or not source.sha256:
            return "no folder for plans"
        try:
            check_target(self._flavour(FLAVOURS[name]), self._target, self.host.gpus)
            self._wanted(source)
        except EngineError as error:
            return error.detail
        return None

    def _open(self, name: RunnerName, source: NetworkSource, threads: int) -> Runner:
        if name in FLAVOURS:
            return self._open_plan(FLAVOURS[name], source)
        if name is RunnerName.ORT:
            return open_network(source.path, threads=threads)
        if name is RunnerName.OPENVINO:
            precision = self.policy.openvino_precision
            return OpenVinoRunner(source.path.read_bytes(), threads=threads, precision=precision)
        return OrtCudaRunner(
            source.path.read_bytes(),
            device=self.device,
            conv_search=self.policy.conv_search,
            tf32=self.policy.tf32,
        )

    def _open_plan(self, name: FlavourName, source: NetworkSource) -> Runner:
        if self._plans is None:
            raise RunnerUnavailableError(f"{name} needs a folder for plans")
        flavour, device = self._flavour(name), self.device
        wanted = self._wanted(source)
        made = make_plan(
            wanted,
            flavour=flavour,
            target=self._target,
            cache=self._plans,
            limit_s=self.policy.plan_build_s,
        )
        if not made.was_there:
            log.info(
                "%s: built the plan %s in %.1f s", source.path.name, made.plan.key, made.seconds
            )
        kernels = RuntimeCache(made.plan.kernels(device.cuda.device), write=write_whole)
        return TrtRunner(
            made.plan.read(),
            flavour=flavour,
            device=device,
            metadata=made.plan.metadata,
            precision=made.plan.precision,
            key=made.plan.key,
            cache=kernels,
        )

    def _flavour(self, name: FlavourName) -> Flavour:
        if name not in self._flavours:
            self._flavours[name] = self._load_flavour(name)
        return self._flavours[name]

    def _wanted(self, source: NetworkSource) -> Wanted:
        return read_wanted(
            source.path, sha256=source.sha256, profiles=source.profiles, tf32=self.policy.tf32
        )
