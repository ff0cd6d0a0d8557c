"""The two packages that are TensorRT, and the few calls in which they differ.

``tensorrt`` is the one for data-centre and workstation GPUs, ``tensorrt_rtx`` the one for RTX
cards, which compiles kernels at the first run and keeps them in a runtime cache. Networks are
strongly typed in both: precision is a property of the ONNX file.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

from engines.errors import EngineFaultError

log = logging.getLogger(__name__)


class FlavourName(StrEnum):
    """Which TensorRT; the value is also the runner's name."""

    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


# The RTX wheels are importable by either name, the bindings by the second alone.
MODULES: dict[FlavourName, tuple[str, ...]] = {
    FlavourName.TENSORRT: ("tensorrt",),
    FlavourName.TENSORRT_RTX: ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
EXTRAS = {FlavourName.TENSORRT: "tensorrt", FlavourName.TENSORRT_RTX: "plans"}


@dataclass(frozen=True, slots=True)
class Flavour:
    """One imported package."""

    name: FlavourName
    trt: Any  # the module
    version: str

    @property
    def has_runtime_cache(self) -> bool:
        """Whether kernels are compiled at the first run and can be kept."""
        return self.name is FlavourName.TENSORRT_RTX

    def logger(self, kept: "Complaints") -> Any:  # noqa: ANN401 - a class of the package
        """A logger that keeps errors for our messages and passes warnings on."""
        trt = self.trt

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, text: str) -> None:  # noqa: ANN401
                if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                    kept.add(text)

        return Logger()

    def execution_context(self, engine: Any, cache: "RuntimeCache | None") -> Any:  # noqa: ANN401
        """A context of an engine, with the kernels of earlier runs where the flavour keeps them."""
        if cache is None or not self.has_runtime_cache:
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        cache.attach(config)
        return engine.create_execution_context(config)


class Complaints:
    """The last errors that TensorRT logged: it returns None or False and says why there."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """Keep one."""
        self._texts.append(text)
        log.debug("TensorRT: %s", text)

    def take(self) -> str:
        """What was said since the last time, as the end of a message."""
        texts, self._texts = self._texts, []
        return "; ".join(text.strip().partition("\n")[0] for text in texts[:3])[:500] or "no reason"


class RuntimeCache:
    """Compiled kernels of the RTX flavour, beside the plan; another GPU or version ignores them."""

    def __init__(self, path: Path, *, write: Callable[[Path, bytes], None]) -> None:
        self._path = path
        self._write = write
        self._cache: Any = None
        self._was = b""

    def attach(self, config: Any) -> None:  # noqa: ANN401 - a class of the package
        """Give a runtime configuration what earlier processes compiled."""
        self._cache = config.create_runtime_cache()
        if self._path.is_file():
            self._was = self._path.read_bytes()
            if not self._cache.deserialize(self._was):
                log.info("%s was compiled elsewhere and is made anew", self._path)
                self._was = b""
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Keep what this process compiled; losing it costs the next start some seconds only."""
        if self._cache is None:
            return
        content = bytes(self._cache.serialize() or b"")
        if content and content != self._was:
            self._write(self._path, content)
            self._was = content


def load_flavour(name: FlavourName) -> Flavour:
    """Import a flavour; raises ``EngineFaultError`` code ``runner_unavailable``."""
    reasons = []
    for module in MODULES[name]:
        try:
            trt = import_module(module)
        except Exception as error:  # noqa: BLE001 - a library that does not load raises anything
            reasons.append(str(error))
            continue
        return Flavour(name=name, trt=trt, version=str(trt.__version__))
    message = (
        f"{name} cannot be used here: {reasons[-1]}. Install it with the extra {EXTRAS[name]}."
    )
    raise EngineFaultError(message, code="runner_unavailable")
