"""How fast this host's device is, beside the reference device that prices are told in.

The workload is fixed: eight 3x3 convolutions of 64 channels over 128x128, 9.7 billion operations
in fp32, generated here and run through the runner that jobs would have. The reference device is a
definition, no machine: it computes one round in exactly ``REFERENCE_MS``, as a GPU does that
sustains about 10 TFLOP/s. An operator whose prices were made on a machine of their own takes what
was measured there as the reference instead.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from engines.opening import NetworkSource, RunnerOpener
from engines.runners.base import Feeds, Runner
from engines.runners.host import usable_cores

REFERENCE_MS = 1.0
ROUNDS = 15
SHAPE = (1, 64, 128, 128)
LAYERS = 8

_WARM_UP = 3  # first runs take memory and choose kernels
_SEED = 9
_DIGITS = 3
_SMALLEST = Decimal("0.000001")  # the decimals of a pricing rule


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured."""

    device: str  # as usage reports name it
    runner: str
    provider: str
    precision: str
    rounds: int
    median_ms: float
    noise: float  # the middle half's width, as a share of the median


def measure_here(opener: RunnerOpener, *, rounds: int = ROUNDS) -> Speed:
    """Measure the device that jobs run on, with the runner they would have.

    Raises:
        EngineError: nothing here runs the workload.
    """
    with tempfile.TemporaryDirectory(prefix="pixelmeter-") as folder:
        source = write_workload(Path(folder))
        with opener(source, threads=usable_cores()) as runner:
            return measure(runner, workload_feeds(), rounds=rounds)


def write_workload(folder: Path) -> NetworkSource:
    """The network as a file, the same bytes everywhere."""
    import onnx  # noqa: PLC0415 - slow to import, and few processes measure
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    channels = SHAPE[1]
    noise = np.random.default_rng(_SEED)
    spread = np.sqrt(2 / (channels * 9))  # so that values neither grow nor fade through the layers
    nodes, weights = [], []
    for layer in range(LAYERS):
        values = noise.normal(0, spread, (channels, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{layer}"))
        nodes.append(
            helper.make_node("Conv", [f"x{layer}", f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"x{layer + 1}"]))
    graph = helper.make_graph(
        nodes,
        "device speed",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(f"x{LAYERS}", TensorProto.FLOAT, SHAPE)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "device-speed.onnx"
    onnx.save(model, path)
    return NetworkSource(path, hashlib.sha256(path.read_bytes()).hexdigest())


def workload_feeds() -> Feeds:
    """What every round is fed."""
    noise = np.random.default_rng(_SEED)
    return {"x0": noise.normal(0, 1, SHAPE).astype(np.float32)}


def measure(runner: Runner, feeds: Feeds, *, rounds: int = ROUNDS) -> Speed:
    """Run the workload; compute time as usage reports count it, waiting is not in it.

    Raises:
        EngineError: the runner cannot run it.
    """
    for _ in range(_WARM_UP):
        runner.run(feeds)
    times = []
    for _ in range(rounds):
        runner.run(feeds)
        times.append(runner.stages_ms["execute"])
    facts = runner.facts
    return Speed(
        device=facts.device,
        runner=facts.kind,
        provider=facts.provider,
        precision=facts.precision,
        rounds=rounds,
        median_ms=median(times),
        noise=_noise(times),
    )


def factor(median_ms: float, *, reference_ms: float) -> Decimal:
    """Time on the reference = measured time x factor: three digits, at most six decimals."""
    exact = Decimal(reference_ms) / Decimal(median_ms)
    digit = Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1)
    rounded = exact.quantize(max(digit, _SMALLEST), ROUND_HALF_EVEN)
    return max(rounded, _SMALLEST)


def _noise(times: Sequence[float]) -> float:
    low, middle, high = quantiles(times, n=4)
    return (high - low) / middle
