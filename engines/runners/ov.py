"""OpenVINO on the CPU: an optional runtime for hosts without a GPU.

Precision is asked for, not left to the library: by itself it computes in bf16 where the processor
can, which moves boxes by pixels. ``f32`` gives the reference's results; what really ran is read
back from the compiled network.
"""

from copy import copy
from dataclasses import replace
from threading import Lock, local
from time import perf_counter
from typing import Any, Self

from engines.errors import EngineFaultError
from engines.runners.base import Facts, Feeds
from engines.runners.host import usable_cores
from engines.runners.network import Executed, LoadedNetwork
from engines.runners.ort import first_line, onnx_facts, translated

PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}  # as OpenVINO names them: as we do


class OpenVinoRunner(LoadedNetwork):
    """One ONNX network on OpenVINO's CPU device.

    Args:
        model: the file's bytes.
        threads: CPU threads for one run; as many runs at once as the cores allow.
        precision: ``f32``, or ``bf16`` and ``f16`` where the processor has them.
    """

    def __init__(self, model: bytes, *, threads: int, precision: str = "f32") -> None:
        if precision not in PRECISIONS:
            message = f"OpenVINO runs in {', '.join(PRECISIONS)}, not in {precision!r}"
            raise EngineFaultError(message, code="runner_unavailable")
        self._compiled: Any = _compile(model, threads=threads, precision=precision)
        ran = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        super().__init__(_facts(onnx_facts(model), precision=PRECISIONS.get(ran, ran)))
        self._lock = Lock()
        self._idle: list[Any] = []  # requests of threads that are done; each has its own memory

    def _execute(self, feeds: Feeds) -> Executed:
        request = self._request()
        started = perf_counter()
        try:
            request.infer(dict(feeds), share_inputs=True)
        except Exception as error:  # the library has no common root for its errors
            raise translated(error) from error
        elapsed_ms = (perf_counter() - started) * 1000
        # The tensors belong to the request, which another thread takes next.
        outputs = {
            spec.name: request.get_output_tensor(place).data.copy()
            for place, spec in enumerate(self.outputs)
        }
        with self._lock:
            if self._compiled is not None:
                self._idle.append(request)
        return Executed(outputs, {"execute": elapsed_ms})

    def twin(self) -> Self:
        """Another runner over the same compiled network; each run takes a request of its own."""
        other = copy(self)
        other._last = local()  # noqa: SLF001 - our own copy
        return other

    def _request(self) -> Any:  # noqa: ANN401 - the library is untyped
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._compiled is None:
                raise EngineFaultError("this runner was closed; open another one")
            return self._compiled.create_infer_request()

    def _release(self) -> None:
        with self._lock:
            self._compiled = None
            self._idle.clear()


def _compile(model: bytes, *, threads: int, precision: str) -> Any:  # noqa: ANN401 - untyped
    import openvino

    core = openvino.Core()
    streams = max(1, usable_cores() // threads)  # runs at once, each on threads of its own
    wanted = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": streams * threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
    }
    try:
        return core.compile_model(core.read_model(model), "CPU", wanted)
    except Exception as error:  # the library has no common root for its errors
        message = f"OpenVINO cannot load this file: {first_line(error)}"
        raise EngineFaultError(message, code="weights_unreadable") from error


def _facts(declared: Facts, *, precision: str) -> Facts:
    return replace(declared, kind="openvino", provider="CPU", precision=precision)
