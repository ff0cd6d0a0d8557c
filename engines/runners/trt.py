"""TensorRT, native: a plan, its device buffers, one stream, CUDA events around each part.

Buffers are allocated once, for the largest shapes of the plan's profile, and bound once. A run sets
a shape only where it differs from the last run's. Every call that answers is checked: TensorRT says
no by returning False or None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.errors import EngineError, EngineFaultError
from engines.runners.base import Facts, Feeds, TensorSpec
from engines.runners.cuda import Cuda, Device
from engines.runners.flavours import Complaints, Flavour, RuntimeCache
from engines.runners.network import Executed, LoadedNetwork
from engines.runners.ort import translated
from engines.runners.transfers import Staging, stages_ms

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Limits:
    """What one input may be."""

    least: Shape
    most: Shape

    def hold(self, shape: Shape) -> bool:
        """Whether the plan can run this shape."""
        return len(shape) == len(self.least) and all(
            low <= length <= high
            for low, length, high in zip(self.least, shape, self.most, strict=True)
        )


class TrtRunner(LoadedNetwork):
    """One network as a TensorRT plan.

    Args:
        plan: the serialized engine, from our own cache: deserializing trusts it.
        flavour: the package it was built with.
        device: the GPU of this process.
        metadata: of the ONNX file, which a plan does not carry.
        precision: the plan was built for.
        key: of the plan, for the usage report.
        cache: where the RTX flavour keeps compiled kernels.

    Raises:
        EngineFaultError: code ``plan_unusable``: built for another GPU or version.
    """

    def __init__(
        self,
        plan: bytes,
        *,
        flavour: Flavour,
        device: Device,
        metadata: Mapping[str, str],
        precision: str,
        key: str,
        cache: RuntimeCache | None = None,
    ) -> None:
        self._device = device
        self._flavour = flavour
        self._cache = cache
        self._complaints = Complaints()
        self._staging = Staging(device)
        self._shapes: dict[str, Shape] = {}
        with device.turn() as cuda:
            before = cuda.memory_used()
            try:
                self._open(plan)
                inputs, outputs = self._specs()
                self._limits = {spec.name: self._limits_of(spec.name) for spec in inputs}
                self._addresses = self._bind(cuda, inputs, outputs)
            except BaseException:
                self._staging.release()
                raise
            self._device_bytes = max(len(plan), cuda.memory_used() - before)
        super().__init__(
            Facts(
                kind=flavour.name.value,
                provider=f"TensorRT {flavour.version}",
                precision=precision,
                device=device.cuda.device,
                inputs=inputs,
                outputs=outputs,
                metadata=metadata,
                plan=key,
            )
        )

    @property
    def device_bytes(self) -> int:
        """Growth of the device's used memory while loading; runs allocate nothing."""
        return self._device_bytes

    def _open(self, plan: bytes) -> None:
        self._logger = self._flavour.logger(self._complaints)
        self._runtime = self._flavour.trt.Runtime(self._logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        self._need(self._engine is not None, "the plan does not load")
        self._context: Any = self._flavour.execution_context(self._engine, self._cache)
        self._need(self._context is not None, "the plan gives no execution context")

    def _specs(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        trt, engine = self._flavour.trt, self._engine
        found: dict[bool, list[TensorSpec]] = {True: [], False: []}
        for place in range(engine.num_io_tensors):
            name = engine.get_tensor_name(place)
            shape = tuple(
                None if length < 0 else int(length) for length in engine.get_tensor_shape(name)
            )
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            found[is_input].append(TensorSpec(name, shape, dtype))
        return tuple(found[True]), tuple(found[False])

    def _limits_of(self, name: str) -> _Limits:
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        return _Limits(tuple(map(int, least)), tuple(map(int, most)))

    def _bind(
        self, cuda: Cuda, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> dict[str, int]:
        """Memory for the largest shapes, its addresses told once."""
        for spec in inputs:
            self._set_shape(spec.name, self._limits[spec.name].most)
        unknown = self._context.infer_shapes()
        self._need(not unknown, f"the plan does not say the shape of {', '.join(unknown)}")
        addresses = {}
        for spec in (*inputs, *outputs):
            shape = tuple(self._context.get_tensor_shape(spec.name))
            self._need(min(shape, default=0) >= 0, f"the size of {spec.name} depends on the data")
            length = int(np.prod(shape, dtype=np.int64)) * spec.dtype.itemsize
            address = self._staging.reserve(cuda, spec.name, max(length, 1))
            told = self._context.set_tensor_address(spec.name, address)
            self._need(told, f"the address of {spec.name} was refused")
            addresses[spec.name] = address
        return addresses

    def _execute(self, feeds: Feeds) -> Executed:
        with self._device.turn() as cuda:
            if self._context is None:
                raise EngineFaultError("this runner was closed; open another one")
            self._check_limits(feeds)
            try:
                return self._enqueue(cuda, feeds)
            except EngineError:
                raise
            except Exception as error:  # pycuda and TensorRT have no common root for their errors
                raise translated(error) from error

    def _enqueue(self, cuda: Cuda, feeds: Feeds) -> Executed:
        for spec in self.inputs:
            self._set_shape(spec.name, feeds[spec.name].shape)
        unknown = self._context.infer_shapes()
        self._need(not unknown, f"the plan does not say the shape of {', '.join(unknown)}")
        marks = [cuda.mark()]
        staged = self._staging.upload(cuda, feeds, self._addresses)
        marks.append(cuda.mark())
        started = self._context.execute_async_v3(cuda.stream_handle)
        self._need(started, "the network did not start")
        marks.append(cuda.mark())
        outputs = {}
        for spec in self.outputs:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            array = self._device.pinned.take(shape, spec.dtype)
            if array.nbytes:
                cuda.download(array, self._addresses[spec.name])
            outputs[spec.name] = array
        marks.append(cuda.mark())
        cuda.wait(marks[-1])
        del staged  # the device read it until here
        return Executed(outputs, stages_ms(cuda, marks))

    def _set_shape(self, name: str, shape: Shape) -> None:
        if self._shapes.get(name) == shape:
            return
        told = self._context.set_input_shape(name, shape)
        self._need(told, f"the shape {shape} of {name} was refused")
        self._shapes[name] = shape

    def _check_limits(self, feeds: Feeds) -> None:
        for name, limits in self._limits.items():
            if not limits.hold(feeds[name].shape):
                message = (
                    f"the plan runs {name} from {limits.least} to {limits.most}, not "
                    f"{feeds[name].shape}: widen the model's profile and build it again"
                )
                raise EngineFaultError(message, code="shape_outside_plan")

    def _need(self, answer: object, problem: str) -> None:
        if not answer:
            message = f"{self._flavour.name}: {problem}: {self._complaints.take()}"
            raise EngineFaultError(message, code="plan_unusable")

    def _release(self) -> None:
        with self._device.turn():
            if self._cache is not None:
                self._cache.save()
            # In this order: each refers to the next.
            self._context = None
            self._engine = None
            self._runtime = None
            self._staging.release()
