"""ONNX Runtime on the CPU: the runner that works everywhere.

Networks are loaded from bytes, never from a path: from a path ONNX Runtime follows external-data
references, through which a hostile file can read other files of this machine.
"""

from collections import deque
from copy import copy
from pathlib import Path
from threading import local
from time import perf_counter
from typing import Any, Self

import numpy as np

from engines.errors import EngineFaultError, ExhaustedError
from engines.runners.base import Facts, Feeds, TensorSpec
from engines.runners.host import cpu_name, usable_cores
from engines.runners.network import Executed, LoadedNetwork

__all__ = ["OrtRunner", "open_onnx", "usable_cores"]

PRECISION_KEY = "pixelmeter_precision"  # in the metadata of converted weights
SHRINK_KEY = "memory.enable_memory_arena_shrinkage"
_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_ERRORS_ONLY = 3
_RECENT_RUNS = 8
_SHRINK_ABOVE = 4  # times the least of the recent runs


class OrtRunner(LoadedNetwork):
    """One ONNX network on ONNX Runtime's CPU provider."""

    def __init__(self, model: bytes, *, threads: int) -> None:
        import onnxruntime as ort

        self._session: Any = open_session(
            model, providers=["CPUExecutionProvider"], threads=threads
        )
        super().__init__(session_facts(self._session, device=cpu_name()))
        self._sizes = InputSizes()
        self._shrinking = ort.RunOptions()
        self._shrinking.add_run_config_entry(SHRINK_KEY, "cpu:0")

    def _execute(self, feeds: Feeds) -> Executed:
        session = self._session  # a close in another thread lets this run end
        options = self._shrinking if self._sizes.is_outlier(feeds) else None
        started = perf_counter()
        try:
            values = session.run(None, dict(feeds), options)
        except Exception as error:  # the library has no common root for its errors
            raise translated(error) from error
        elapsed_ms = (perf_counter() - started) * 1000
        outputs = {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}
        return Executed(outputs, {"execute": elapsed_ms})

    def twin(self) -> Self:
        """Another runner over the same session, whose ``run`` the library lets threads share."""
        other = copy(self)
        other._last = local()  # noqa: SLF001 - our own copy
        return other

    def _release(self) -> None:
        self._session = None


class InputSizes:
    """Which runs should give the memory they grew back: those much larger than recent ones."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=_RECENT_RUNS)

    def is_outlier(self, feeds: Feeds) -> bool:
        """Note a run and say whether the arena should shrink after it."""
        size = sum(array.nbytes for array in feeds.values())
        least = min(self._recent, default=size)
        self._recent.append(size)
        return size > _SHRINK_ABOVE * least


def open_onnx(path: Path, *, threads: int) -> OrtRunner:
    """Read a file and load it; raises ``EngineFaultError`` code ``weights_unreadable``."""
    return OrtRunner(path.read_bytes(), threads=threads)


def onnx_facts(model: bytes) -> Facts:
    """Inputs, outputs and metadata of a file, without preparing it to run."""
    session = open_session(model, providers=["CPUExecutionProvider"], threads=1, optimize=False)
    return session_facts(session, device=cpu_name())


def open_session(model: bytes, *, providers: list[Any], threads: int, optimize: bool = True) -> Any:  # noqa: ANN401 - the library is untyped
    """A session from bytes; raises ``EngineFaultError`` code ``weights_unreadable``."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Spinning worker threads starve decoding and encoding beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(model, sess_options=options, providers=providers)
    except Exception as error:  # the library has no common root for its errors
        message = f"ONNX Runtime cannot load this file: {first_line(error)}"
        raise EngineFaultError(message, code="weights_unreadable") from error


def session_facts(session: Any, *, device: str) -> Facts:  # noqa: ANN401 - the library is untyped
    """What a session says of its network."""
    inputs = tuple(_spec(node) for node in session.get_inputs())
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return Facts(
        kind="onnxruntime",
        provider=str(session.get_providers()[0]),
        precision=metadata.get(PRECISION_KEY) or precision_of(inputs),
        device=device,
        inputs=inputs,
        outputs=tuple(_spec(node) for node in session.get_outputs()),
        metadata=metadata,
    )


def precision_of(inputs: tuple[TensorSpec, ...]) -> str:
    """By the first input, for networks that do not say: fp32 or fp16."""
    return "fp16" if inputs and inputs[0].dtype == np.float16 else "fp32"


def translated(error: Exception) -> EngineFaultError | ExhaustedError:
    """A failed run as an error of ours."""
    text = first_line(error)
    if "allocate" in text.lower() or "out of memory" in text.lower():
        return ExhaustedError(f"this machine has too little memory for the network: {text}")
    return EngineFaultError(f"the network failed: {text}")


def first_line(error: Exception) -> str:
    """What a library said, short enough for a message."""
    return str(error).strip().partition("\n")[0][:300]


def _spec(node: Any) -> TensorSpec:  # noqa: ANN401 - the library is untyped
    shape = tuple(length if isinstance(length, int) else None for length in node.shape)
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        message = f"the tensor {node.name} has the type {node.type}, which nothing here feeds"
        raise EngineFaultError(message, code="weights_unreadable")
    return TensorSpec(name=node.name, shape=shape, dtype=np.dtype(dtype))
