"""ONNX Runtime on an NVIDIA device: our stream, our buffers, CUDA events around each part.

Inputs are bound to device memory that is allocated once; outputs come from ONNX Runtime's arena,
which grows by what is asked for (``kSameAsRequested``) and shrinks after an unusually large run.
"""

from typing import Any

from engines.errors import EngineError, EngineFaultError
from engines.runners.base import Feeds
from engines.runners.cuda import Cuda, Device
from engines.runners.network import Executed, LoadedNetwork, with_tf32
from engines.runners.ort import (
    SHRINK_KEY,
    InputSizes,
    open_session,
    session_facts,
    translated,
)
from engines.runners.transfers import Staging, stages_ms

PROVIDER = "CUDAExecutionProvider"
# The session's end is awaited by our event, which lets the download be enqueued before it.
_UNSYNCHRONIZED = ("disable_synchronize_execution_providers", "1")


class OrtCudaRunner(LoadedNetwork):
    """One ONNX network on ONNX Runtime's CUDA provider.

    Args:
        model: the file's bytes.
        device: the GPU of this process.
        conv_search: ``cudnn_conv_algo_search``: HEURISTIC starts at once, EXHAUSTIVE measures
            every shape it meets first, DEFAULT takes cuDNN's.
        tf32: round the factors of fp32 products to 10 bits.
    """

    def __init__(
        self,
        model: bytes,
        *,
        device: Device,
        conv_search: str = "HEURISTIC",
        tf32: bool = False,
    ) -> None:
        self._device = device
        self._shapes_seen: set[frozenset[tuple[str, tuple[int, ...]]]] = set()
        with device.turn() as cuda:
            before = cuda.memory_used()
            self._session: Any = _open(model, cuda, conv_search, tf32=tf32)
            self._device_bytes = max(0, cuda.memory_used() - before)
        facts = session_facts(self._session, device=device.cuda.device)
        super().__init__(with_tf32(facts) if tf32 else facts)
        self._staging = Staging(device)
        self._sizes = InputSizes()
        self._usual = _run_options()
        self._shrinking = _run_options((SHRINK_KEY, f"gpu:{device.cuda.index}"))

    def _execute(self, feeds: Feeds) -> Executed:
        with self._device.turn() as cuda:
            session = self._session
            if session is None:
                raise EngineFaultError("this runner was closed; open another one")
            try:
                return self._watched(cuda, session, feeds)
            except EngineError:
                raise
            except Exception as error:  # neither library has a common root for its errors
                raise translated(error) from error

    @property
    def device_bytes(self) -> int:
        """Growth of the device's used memory while loading and at each new shape."""
        return self._device_bytes

    def _watched(self, cuda: Cuda, session: Any, feeds: Feeds) -> Executed:  # noqa: ANN401
        shapes = frozenset((name, feed.shape) for name, feed in feeds.items())
        if shapes in self._shapes_seen:
            return self._enqueue(cuda, session, feeds)
        before = cuda.memory_used()
        executed = self._enqueue(cuda, session, feeds)
        self._device_bytes += max(0, cuda.memory_used() - before)
        self._shapes_seen.add(shapes)
        return executed

    def _enqueue(self, cuda: Cuda, session: Any, feeds: Feeds) -> Executed:  # noqa: ANN401
        binding = session.io_binding()
        addresses = {}
        for name, feed in feeds.items():
            addresses[name] = self._staging.reserve(cuda, name, feed.nbytes)
            binding.bind_input(
                name, "cuda", cuda.index, feed.dtype.type, list(feed.shape), addresses[name]
            )
        for spec in self.outputs:
            binding.bind_output(spec.name, "cuda", cuda.index)
        marks = [cuda.mark()]
        staged = self._staging.upload(cuda, feeds, addresses)
        marks.append(cuda.mark())
        shrinking = self._sizes.is_outlier(feeds)
        session.run_with_iobinding(binding, self._shrinking if shrinking else self._usual)
        marks.append(cuda.mark())
        results = binding.get_outputs()
        outputs = {}
        for spec, result in zip(self.outputs, results, strict=True):
            array = self._device.pinned.take(tuple(result.shape()), spec.dtype)
            if array.nbytes:
                cuda.download(array, int(result.data_ptr()))
            outputs[spec.name] = array
        marks.append(cuda.mark())
        cuda.wait(marks[-1])
        del staged, results, binding  # their memory was in use until here
        return Executed(outputs, stages_ms(cuda, marks))

    def _release(self) -> None:
        with self._device.turn():
            self._session = None
            self._staging.release()


def _open(model: bytes, cuda: Cuda, conv_search: str, *, tf32: bool) -> Any:  # noqa: ANN401
    import onnxruntime as ort

    preload = getattr(ort, "preload_dlls", None)  # only the CUDA build has it
    if preload is not None:
        preload(directory=None)
    options = {
        "device_id": str(cuda.index),
        "user_compute_stream": str(cuda.stream_handle),
        "do_copy_in_default_stream": "1",
        "cudnn_conv_algo_search": conv_search,
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "1" if tf32 else "0",
    }
    if PROVIDER not in ort.get_available_providers():
        message = (
            "this ONNX Runtime has no CUDA: uninstall onnxruntime and install onnxruntime-gpu "
            "(extra gpu), or allow another runner"
        )
        raise EngineFaultError(message, code="runner_unavailable")
    session = open_session(
        model, providers=[(PROVIDER, options), "CPUExecutionProvider"], threads=1
    )
    if session.get_providers()[0] != PROVIDER:
        # ONNX Runtime prints a warning and goes on with the CPU; we do not.
        message = (
            f"ONNX Runtime gave {session.get_providers()[0]} instead of {PROVIDER}: its CUDA or "
            "cuDNN libraries do not load; install them, or allow another runner"
        )
        raise EngineFaultError(message, code="runner_unavailable")
    return session


def _run_options(*entries: tuple[str, str]) -> Any:  # noqa: ANN401 - the library is untyped
    import onnxruntime as ort

    options = ort.RunOptions()
    for key, value in (_UNSYNCHRONIZED, *entries):
        options.add_run_config_entry(key, value)
    return options
