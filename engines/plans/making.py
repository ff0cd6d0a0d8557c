"""From a verified weights file to a plan: found, or built and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from engines.choice import PLAN_BUILD_S
from engines.plans.build import Progress
from engines.plans.building import build_apart
from engines.plans.cache import Plan, PlanCache
from engines.plans.key import PlanKey
from engines.profiles import Profile, choose_profiles
from engines.runners.base import Facts
from engines.runners.flavours import Flavour
from engines.runners.ort import onnx_facts


@dataclass(frozen=True, slots=True)
class Wanted:
    """One network a plan can be made of."""

    model: bytes
    facts: Facts  # as ONNX Runtime read them: a file with external data did not get here
    sha256: str
    profiles: tuple[Profile, ...]
    tf32: bool = False

    @property
    def precision(self) -> str:
        """What a plan of it computes in."""
        precision = self.facts.precision
        return "tf32" if self.tf32 and precision == "fp32" else precision

    def key(self, flavour: Flavour, target: str) -> PlanKey:
        """What its plan is kept under."""
        return PlanKey(
            weights_sha256=self.sha256,
            flavour=flavour.name.value,
            version=flavour.version,
            target=target,
            profiles=self.profiles,
            precision=self.precision,
        )


@dataclass(frozen=True, slots=True)
class Made:
    """A plan and what it cost to have it."""

    plan: Plan
    seconds: float
    was_there: bool


def read_wanted(
    path: Path, *, sha256: str, profiles: Sequence[Profile], tf32: bool = False
) -> Wanted:
    """Read a verified file.

    Raises:
        EngineFaultError: code ``weights_unreadable`` or ``profile_missing``.
    """
    model = path.read_bytes()
    facts = onnx_facts(model)
    declared = {spec.name: spec.shape for spec in facts.inputs}
    return Wanted(model, facts, sha256, choose_profiles(declared, profiles, file=path.name), tf32)


def make_plan(
    wanted: Wanted,
    *,
    flavour: Flavour,
    target: str,
    cache: PlanCache,
    limit_s: float = PLAN_BUILD_S,
    progress: Progress | None = None,
) -> Made:
    """The plan for a target that ``check_target`` let through; raises as ``build_apart``."""
    started = perf_counter()
    key = wanted.key(flavour, target)
    found = cache.find(key)
    if found is not None:
        return Made(found, perf_counter() - started, was_there=True)
    with cache.only_builder(key):
        found = cache.find(key)  # another process may have built it while we waited
        if found is not None:
            return Made(found, perf_counter() - started, was_there=True)
        content = build_apart(
            wanted.model,
            flavour=flavour,
            target=target,
            profiles=wanted.profiles,
            tf32=wanted.tf32,
            limit_s=limit_s,
            progress=progress,
        )
        plan = cache.store(key, content, metadata=wanted.facts.metadata)
    return Made(plan, perf_counter() - started, was_there=False)
