"""What a plan depends on: two plans of one key do the same, and what differs is another key."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property

from engines.profiles import Profile


@dataclass(frozen=True)
class PlanKey:
    """Everything that goes into a plan."""

    weights_sha256: str
    flavour: str  # tensorrt | tensorrt-rtx
    version: str  # of the package
    target: str  # sm89
    profiles: tuple[Profile, ...]
    precision: str  # of the weights: fp32 | fp16

    @cached_property
    def digest(self) -> str:
        """64 hex digits."""
        facts = asdict(self)
        for profile in facts["profiles"]:
            del profile["file"], profile["values"]  # they say nothing about the plan
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def short(self) -> str:
        """Enough of it for people."""
        return f"{self.target}-{self.digest[:12]}"
