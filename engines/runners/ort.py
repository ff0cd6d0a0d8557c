"""ONNX Runtime: the runner that works everywhere.

Networks are loaded from bytes, never from a path: from a path ONNX Runtime follows external-data
references, through which a hostile file can read other files of this machine.
"""

import os
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np

from engines.errors import EngineFaultError, ExhaustedError
from engines.runners.base import Array, Feeds, TensorSpec
from engines.runners.feeds import check_feeds

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


def usable_cores() -> int:
    """CPU cores this process may run on, which in a container is fewer than the machine has."""
    return len(os.sched_getaffinity(0))


class OrtRunner:
    """One ONNX network on ONNX Runtime's CPU provider."""

    kind = "onnxruntime"

    def __init__(self, model: bytes, *, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Spinning worker threads starve decoding and encoding beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(
                model, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library has no common root for its errors
            message = f"ONNX Runtime cannot load this file: {_first_line(error)}"
            raise EngineFaultError(message, code="weights_unreadable") from error
        self._session: Any = session
        self._provider = str(session.get_providers()[0])
        self._inputs = tuple(_spec(node) for node in session.get_inputs())
        self._outputs = tuple(_spec(node) for node in session.get_outputs())
        self._metadata = dict(session.get_modelmeta().custom_metadata_map)
        self._elapsed_ms = 0.0

    @property
    def provider(self) -> str:
        """The execution provider that ONNX Runtime chose."""
        return self._provider

    @property
    def precision(self) -> str:
        """Of the network's first input: fp32 or fp16."""
        return "fp16" if self._inputs[0].dtype == np.float16 else "fp32"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network."""
        return self._outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        """The custom metadata of the ONNX file."""
        return self._metadata

    @property
    def elapsed_ms(self) -> float:
        """Duration of the last ``run`` call."""
        return self._elapsed_ms

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; the returned arrays are fresh and belong to the caller."""
        if self._session is None:
            raise EngineFaultError("this runner is closed; open another one")
        check_feeds(self._inputs, feeds)
        started = perf_counter()
        try:
            values = self._session.run(None, dict(feeds))
        except Exception as error:  # the library has no common root for its errors
            raise _translate(error) from error
        self._elapsed_ms = (perf_counter() - started) * 1000
        return {spec.name: value for spec, value in zip(self._outputs, values, strict=True)}

    def twin(self) -> "OrtRunner":
        """Another runner over the same session, whose ``run`` the library lets threads share."""
        return copy(self)

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def __enter__(self) -> Self:
        """Give the runner itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def open_onnx(path: Path, *, threads: int) -> OrtRunner:
    """Read a file and load it; raises ``EngineFaultError`` code ``weights_unreadable``."""
    return OrtRunner(path.read_bytes(), threads=threads)


def _spec(node: Any) -> TensorSpec:  # noqa: ANN401 - the library is untyped
    shape = tuple(length if isinstance(length, int) else None for length in node.shape)
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        message = f"the tensor {node.name} has the type {node.type}, which nothing here feeds"
        raise EngineFaultError(message, code="weights_unreadable")
    return TensorSpec(name=node.name, shape=shape, dtype=np.dtype(dtype))


def _translate(error: Exception) -> EngineFaultError | ExhaustedError:
    text = _first_line(error)
    if "allocate" in text.lower():
        return ExhaustedError(f"this machine has too little memory for the network: {text}")
    return EngineFaultError(f"the network failed: {text}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
