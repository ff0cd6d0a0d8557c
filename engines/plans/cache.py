"""Plans on this machine: one file and one description each, named by the key's digest.

A plan is native code to whoever loads it, so it is loaded only while its bytes are those that were
written here. The description is written last: without it there is no plan.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.atomic import write_whole
from engines.plans.key import PlanKey


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan that is here."""

    key: str  # PlanKey.short
    path: Path
    size: int  # bytes
    precision: str
    metadata: Mapping[str, str]  # of the ONNX file, which a plan does not carry
    facts: Mapping[str, Any]  # what the key was made of, for people

    def read(self) -> bytes:
        """The serialized engine."""
        return self.path.read_bytes()

    def kernels(self, device: str) -> Path:
        """Where the RTX flavour keeps what it compiled for a device."""
        name = hashlib.sha256(device.encode()).hexdigest()[:12]
        return self.path.with_suffix(f".{name}.kernels")


class PlanCache:
    """The plans of one folder, made when first written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: PlanKey) -> Plan | None:
        """The plan of a key; None when there is none, or its bytes are not what was written."""
        path = self._path(key)
        try:
            facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except (OSError, ValueError):
            return None
        if not isinstance(facts, dict) or facts.get("sha256") != found:
            return None
        return Plan(
            key=key.short,
            path=path,
            size=path.stat().st_size,
            precision=key.precision,
            metadata=facts["metadata"],
            facts=facts,
        )

    def store(self, key: PlanKey, content: bytes, *, metadata: Mapping[str, str]) -> Plan:
        """Write a plan; raises ``ExhaustedError`` and leaves nothing when the disk is full."""
        path = self._path(key)
        facts = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "weights_sha256": key.weights_sha256,
            "flavour": key.flavour,
            "version": key.version,
            "target": key.target,
            "precision": key.precision,
            "profiles": [
                {"input": each.input, "min": [*each.min], "opt": [*each.opt], "max": [*each.max]}
                for each in key.profiles
            ],
            "metadata": dict(metadata),
        }
        try:
            write_whole(path, content)
            write_whole(path.with_suffix(".json"), json.dumps(facts, indent=1).encode())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Plan(
            key=key.short,
            path=path,
            size=len(content),
            precision=key.precision,
            metadata=dict(metadata),
            facts=facts,
        )

    @contextmanager
    def only_builder(self, key: PlanKey) -> Iterator[None]:
        """Hold while building: of several processes that miss one plan, one builds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._path(key).with_suffix(".lock")
        with lock.open("wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)

    def _path(self, key: PlanKey) -> Path:
        return self.folder / f"{key.digest}.plan"
